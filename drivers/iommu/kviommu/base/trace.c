// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace events, for all layers.
 */
#include <linux/module.h>

#define CREATE_TRACE_POINTS
#include "trace.h"
