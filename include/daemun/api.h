/*
 * api: what every header of the module API needs: how its functions are
 * marked, and the number of the ABI. The whole API in one line:
 * #include <daemun/daemun.h>.
 */
#ifndef DAEMUN_API_H
#define DAEMUN_API_H

/* A function that daemun offers to modules; the same ones stand in abi.sym. */
#define DM_API __attribute__((visibility("default")))

/*
 * The number of this ABI. A module is taken when it was compiled with the same
 * number. Members and functions that are added at the end leave the number
 * alone; everything else raises it. History: see module.h.
 */
#define DM_ABI 1

#endif
