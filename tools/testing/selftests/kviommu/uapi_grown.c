// SPDX-License-Identifier: GPL-2.0
/*
 * The tests of uapi.c as a VMM of some later day makes them: compiled, with the library,
 * against structures that have grown.
 */
#include <assert.h>

#define UAPI uapi_grown
#include "uapi.c"

static_assert(offsetof(struct kviommu_info, grown) &&
	      offsetof(struct kviommu_create_vtd, grown), "not the header that has grown");
