/*
 * daemun: the module API, all of it. A module is one shared object that sees
 * these headers and nothing else:
 *
 *   cc -std=gnu11 -fPIC -shared -I/usr/local/include -o x.so x.c
 *
 * Begin with module.h (what a module exports), then filter.h (what a filter
 * is asked), exchange.h (what it may see and change), conf.h (its settings).
 * Text is a pointer and a length everywhere (str.h).
 */
#ifndef DAEMUN_DAEMUN_H
#define DAEMUN_DAEMUN_H

#include <daemun/api.h>
#include <daemun/conf.h>
#include <daemun/exchange.h>
#include <daemun/filter.h>
#include <daemun/log.h>
#include <daemun/mem.h>
#include <daemun/module.h>
#include <daemun/str.h>

#endif
