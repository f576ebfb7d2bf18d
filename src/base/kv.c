/*
 * Lists of key=value texts, see kv.h.
 */
#include "base/kv.h"

#include "base/str.h"

static char *copy_or_null(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static struct kv *find(const struct kv_list *list, const char *key)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i].key, key) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

void kv_add(struct kv_list *list, const char *key, const char *value)
{
    PRE(key != NULL);
    list->items = xrealloc(list->items, (list->n + 1) * sizeof(*list->items));
    list->items[list->n] = (struct kv){xstrdup(key), copy_or_null(value)};
    list->n++;
}

void kv_set(struct kv_list *list, const char *key, const char *value)
{
    struct kv *item = find(list, key);
    char *copy;

    if (item == NULL) {
        kv_add(list, key, value);
        return;
    }
    copy = copy_or_null(value); /* First: value may be the old text. */
    free(item->value);
    item->value = copy;
}

void kv_remove(struct kv_list *list, const char *key)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i].key, key) == 0) {
            free(list->items[i].key);
            free(list->items[i].value);
        } else {
            list->items[kept++] = list->items[i];
        }
    }
    list->n = kept;
}

const char *kv_get(const struct kv_list *list, const char *key)
{
    const struct kv *item = find(list, key);

    return item != NULL ? item->value : NULL;
}

bool kv_has(const struct kv_list *list, const char *key)
{
    return find(list, key) != NULL;
}

void kv_copy(struct kv_list *dst, const struct kv_list *src)
{
    PRE(dst != src);
    kv_deinit(dst);
    for (size_t i = 0; i < src->n; i++) {
        kv_add(dst, src->items[i].key, src->items[i].value);
    }
}

static int compare(const void *a, const void *b)
{
    const struct kv *x = a;
    const struct kv *y = b;
    int rv = strcmp(x->key, y->key);

    if (rv != 0) {
        return rv;
    }
    if (x->value == NULL || y->value == NULL) {
        return (x->value != NULL) - (y->value != NULL); /* A null comes first. */
    }
    return strcmp(x->value, y->value);
}

void kv_sort(struct kv_list *list)
{
    if (list->n > 1) {
        qsort(list->items, list->n, sizeof(*list->items), compare);
    }
}

void kv_deinit(struct kv_list *list)
{
    if (list == NULL) {
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].key);
        free(list->items[i].value);
    }
    free(list->items);
    *list = (struct kv_list){0};
}
