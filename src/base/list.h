/*
 * Intrusive doubly linked list. A node lives inside its owner; a list head is
 * a node of its own that points to itself when the list is empty.
 */
#ifndef VECHE_BASE_LIST_H
#define VECHE_BASE_LIST_H

#include "base/base.h"

struct list {
    struct list *prev;
    struct list *next;
};

#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

static inline void list_init(struct list *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Afterwards the node is a list of itself: removing twice is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#endif
