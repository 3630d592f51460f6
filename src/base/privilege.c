/*
 * privilege: see privilege.h. Capabilities are set by the system call itself:
 * two numbers do not need a library.
 */
#include "base/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool privilege_set(uint32_t mask)
{
    struct __user_cap_header_struct header = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[2] = {
        {.effective = mask, .permitted = mask},
    };
    return syscall(SYS_capset, &header, data) == 0;
}

bool privilege_has_user(const char *user)
{
    return getpwnam(user) != NULL;
}

bool privilege_drop(const char *user, struct error *err)
{
    char text[128] = "";
    if (geteuid() != 0) {
        return true;
    }
    const struct passwd *pw = getpwnam(user);
    if (pw == NULL) {
        return error_add(err,
                         "there is no user \"%s\" on this machine; "
                         "make it, or name another one",
                         user);
    }
    const uint32_t kept =
        1u << CAP_NET_BIND_SERVICE | 1u << CAP_DAC_READ_SEARCH;
    if (prctl(PR_SET_KEEPCAPS, 1) != 0 || initgroups(user, pw->pw_gid) != 0 ||
        setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
        strerror_r(errno, text, sizeof(text));
        return error_add(err, "cannot become \"%s\": %s", user, text);
    }
    /* A container may have taken the capabilities already: then a reload
     * reads what the user can read. */
    if (!privilege_set(kept)) {
        privilege_set(0);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return true;
}

void privilege_give(const char *path, const char *user)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam(user) : NULL;
    if (pw != NULL) {
        /* Where it fails, the first opening again says so. */
        const int ignored = lchown(path, pw->pw_uid, pw->pw_gid);
        (void)ignored;
    }
}

void privilege_drop_thread(void)
{
    privilege_set(0);
}
