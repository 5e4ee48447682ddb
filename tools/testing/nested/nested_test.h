/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/nested_test: one assigned device behind nested translation. Each open file has a
 * second-stage domain (the parent) and at most one first-stage domain nested in it.
 */
#ifndef KVIOMMU_NESTED_TEST_H
#define KVIOMMU_NESTED_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct nested_test_map - A page of the second stage
 * @gpa: Its input address
 * @va: Where this process has the page; ignored by NESTED_TEST_UNMAP
 * @size: Size of the page in bytes, one that the second stage knows
 * @rights: NESTED_TEST_R, NESTED_TEST_W; ignored by NESTED_TEST_UNMAP
 */
struct nested_test_map {
	__u64 gpa;
	__u64 va;
	__u64 size;
	__u64 rights;
};

#define NESTED_TEST_R	1
#define NESTED_TEST_W	2

/* What a device's requests are translated by */
enum nested_test_domain {
	NESTED_TEST_NOTHING,	/* they are blocked */
	NESTED_TEST_PARENT,	/* second stage alone */
	NESTED_TEST_NESTED,	/* both stages */
};

#define NESTED_TEST_TYPE	0xf7

/* First of all: the device, by the file through which VFIO has bound it */
#define NESTED_TEST_DEVICE	_IO(NESTED_TEST_TYPE, 0)
#define NESTED_TEST_MAP		_IOW(NESTED_TEST_TYPE, 1, struct nested_test_map)
#define NESTED_TEST_UNMAP	_IOW(NESTED_TEST_TYPE, 2, struct nested_test_map)
/* struct iommu_hwpt_vtd_s1: a first-stage domain in place of the one before */
#define NESTED_TEST_FIRST_STAGE	_IO(NESTED_TEST_TYPE, 3)
/* enum nested_test_domain, by value */
#define NESTED_TEST_ATTACH	_IO(NESTED_TEST_TYPE, 4)
/* struct iommu_hwpt_vtd_s1_invalidate */
#define NESTED_TEST_INVALIDATE	_IO(NESTED_TEST_TYPE, 5)
/* Flush all that is cached of the parent and what is nested in it */
#define NESTED_TEST_FLUSH	_IO(NESTED_TEST_TYPE, 6)

#endif
