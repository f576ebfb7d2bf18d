/*
 * A growing, ordered list of key=value texts: PostgreSQL parameters, initdb
 * options, tags. On the heap; the list owns its texts.
 */
#ifndef VECHE_BASE_KV_H
#define VECHE_BASE_KV_H

#include "base/base.h"

struct kv {
    char *key;   /* Never NULL; may be empty for a bare list item. */
    char *value; /* NULL for an explicit null. */
};

struct kv_list {
    struct kv *items; /* In the order of insertion; NULL while n is 0. */
    size_t n;
};

/* Appends copies, also when the key exists. */
void kv_add(struct kv_list *list, const char *key, const char *value);

/* Replaces the value of the first such key, or appends. */
void kv_set(struct kv_list *list, const char *key, const char *value);

/* Removes every such key. */
void kv_remove(struct kv_list *list, const char *key);

/* The first value of the key, or NULL. Owned by the list. */
const char *kv_get(const struct kv_list *list, const char *key);

bool kv_has(const struct kv_list *list, const char *key);

/* Replaces dst's content by copies of src's. */
void kv_copy(struct kv_list *dst, const struct kv_list *src);

/* Sorts by key, then value. */
void kv_sort(struct kv_list *list);

void kv_deinit(struct kv_list *list);

#endif
