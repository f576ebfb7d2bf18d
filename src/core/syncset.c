/* Readings of the synchronous state; nothing here changes it. */
#include "core/syncset.h"

#include "base/str.h"

bool syncset_allows(const struct store *store, const char *name)
{
    PRE(name[0] != '\0');

    return store_sync_allows(store, name);
}

bool syncset_is_of(const struct store *store, enum sync_mode mode, const char *name)
{
    return str_equal(store->sync.primary, mode == SYNC_OFF ? "" : name);
}

bool syncset_confirms(const struct store *store, const char *name)
{
    const struct store_sync *y = &store->sync;

    PRE(y->n_names <= SYNC_MAX);
    if (y->primary[0] != '\0' && str_equal(y->primary, name)) {
        return true;
    }
    if (y->primary[0] == '\0' || (y->quorum != 0 && y->quorum < y->n_names)) {
        return false;
    }
    for (uint32_t i = 0; i < y->n_names; i++) {
        if (str_equal(y->names[i], name)) {
            return true;
        }
    }
    return false;
}
