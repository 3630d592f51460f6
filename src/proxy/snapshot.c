/*
 * snapshot: look-ups that are not on the request path. See snapshot.h;
 * building and freeing are in control/.
 */
#include "proxy/snapshot.h"

const struct listener *snapshot_listener(const struct snapshot *snap,
                                         unsigned id)
{
    for (size_t i = 0; i < snap->n_listeners; i++) {
        if (snap->listeners[i].id == id) {
            return &snap->listeners[i];
        }
    }
    return NULL;
}

bool snapshot_has_slot(const struct snapshot *snap, const struct slot *slot)
{
    for (size_t i = 0; i < snap->n_upstreams; i++) {
        const struct upstream *up = snap->upstreams[i];
        if (slot->upstream_name == NULL ||
            !str_eq(up->name, str_from(slot->upstream_name))) {
            continue;
        }
        for (size_t j = 0; j < up->n_endpoints; j++) {
            if (up->endpoints[j].slot == slot) {
                return true;
            }
        }
    }
    return false;
}
