/*
 * mem: memory that lives as long as you want, for settings objects and state
 * per worker. For memory of one request take dm_alloc (exchange.h).
 */
#ifndef DAEMUN_MEM_H
#define DAEMUN_MEM_H

#include <daemun/api.h>
#include <stddef.h>

/* Zeroed memory, for you to free by dm_mem_free. Never NULL: when the system
 * has none left the process ends with a message. Any thread. */
DM_API void *dm_mem_new(size_t size);
/* Frees memory of dm_mem_new; takes NULL. Any thread. */
DM_API void dm_mem_free(void *p);

#endif
