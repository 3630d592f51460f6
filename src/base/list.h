/*
 * list: intrusive doubly linked list with a sentinel. The list owns nothing.
 * A node that is in no list has next == NULL.
 */
#ifndef DAEMUN_BASE_LIST_H
#define DAEMUN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define CONTAINER_OF(ptr, type, member)                                        \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline bool list_is_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_push_back(struct list *l, struct list *node)
{
    node->next = l;
    node->prev = l->prev;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_push_front(struct list *l, struct list *node)
{
    list_push_back(l->next, node);
}

/* Takes a node out of its list; harmless when it is in none. */
static inline void list_remove(struct list *node)
{
    if (node->next == NULL) {
        return;
    }
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* The first node, or NULL. */
static inline struct list *list_first(const struct list *l)
{
    return l->next == l ? NULL : l->next;
}

/* The last node, or NULL. */
static inline struct list *list_last(const struct list *l)
{
    return l->prev == l ? NULL : l->prev;
}

/* Visits each node; the body may remove the node it is at. */
#define list_for_each(it, tmp, l)                                              \
    for ((it) = (l)->next, (tmp) = (it)->next; (it) != (l);                    \
         (it) = (tmp), (tmp) = (it)->next)

#endif
