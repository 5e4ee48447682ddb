/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTEST_KVIOMMU_BITS_H
#define SELFTEST_KVIOMMU_BITS_H

#include <linux/const.h>

#define BIT(n)		_BITUL(n)
#define BIT_ULL(n)	_BITULL(n)

/* For memory that someone else reads or writes meanwhile */
#define READ_ONCE(x)	 __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

#endif
