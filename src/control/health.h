/*
 * health: keeps the state of every endpoint of the live snapshot: probes them
 * on a schedule, ejects those whose requests fail, lets them in again, starts
 * them slowly, and decides when an upstream has too few and fails open. Control
 * thread. What is known lies on the scoreboard's slots and survives reloads;
 * an endpoint that a reload did not change keeps its schedule too.
 */
#ifndef DAEMUN_CONTROL_HEALTH_H
#define DAEMUN_CONTROL_HEALTH_H

#include "base/loop.h"
#include "proxy/snapshot.h"

struct health;

enum { HEALTH_N_PROBES_MAX = 1024 };

struct health *health_new(struct loop *loop);
/* Ends all probes; runs a turn of the loop for it. Takes NULL. */
void health_free(struct health *h);
/*
 * The endpoints are those of `snap` from now on. Called before the workers get
 * it, so that they find each slot as it shall be; the snapshot must live until
 * the next one is watched.
 */
void health_watch(struct health *h, const struct snapshot *snap);
/* A worker counted so many failures in a row that it asks for a look. */
void health_failing(struct health *h, const struct slot *slot);

#endif
