/* What this kernel can do beyond what snap cannot work without: looked at once. */
#ifndef SNAP_ENGINE_FEATURES_H
#define SNAP_ENGINE_FEATURES_H

#include <stdbool.h>

struct kernel_features {
	bool memfd_secret;
};

/* Tests take one away by naming it in $SNAP_WITHOUT ("memfd_secret"). */
const struct kernel_features *kernel_features(void);

#endif
