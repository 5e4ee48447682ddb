// SPDX-License-Identifier: GPL-2.0
/*
 * Two functions of one PCI device without access control between them: one
 * IOMMU group, all of which the host translates alike. (Devices behind a
 * conventional PCI bridge are one group too, but Linux 6.12 does not invalidate
 * the bridge's entry in the physical context-cache, with or without a unit.)
 */
#include <sys/eventfd.h>

#include "kselftest_harness.h"
#include "require.h"
#include "variants.h"

#define RUN(fn, ...) guest_run(&self->u.vm, fn, ##__VA_ARGS__)
#define DID 1
#define IOVA 0x10000

FIXTURE(groups) {
	struct unit u;
};

FIXTURE_VARIANT(groups) {
	struct unit_config config;
};

UNIT_VARIANTS(groups);

FIXTURE_SETUP(groups)
{
	unsigned int group[2];
	char path[64], bdf[32];
	int i;

	for (i = 0; i < 2; i++)
		edu_find(i, path, bdf, &group[i]);
	if (group[0] != group[1])
		FATAL("the devices are in two IOMMU groups, this test needs one");

	unit_open(&self->u, &variant->config);
	/* Seeding attaches the group to an IOAS: both before the unit has any. */
	unit_open_device(&self->u, 0, SID(0));
	unit_open_device(&self->u, 1, SID(1));
	RUN(g_setup, 0);
	RUN(g_domain, 0, DID, 4);
	RUN(g_domain, 1, DID + 1, 4);
	RUN(g_map, 0, IOVA, PAGE(0), 1, MAP_RW);
	RUN(g_map, 1, IOVA, PAGE(1), 1, MAP_RW);
	RUN(g_enable, true);
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
}

FIXTURE_TEARDOWN(groups)
{
	unit_close(&self->u);
}

TEST_F(groups, both_in_one_unit)
{
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	EXPECT_EQ(2, unit_stats(&self->u).devices);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	/*
	 * The guest attaches one after the other: what it wants for the first
	 * goes for the group, as long as it wants nothing for the second.
	 */
	RUN(g_attach, SID(0), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	/* While it wants different things, neither gets any. */
	RUN(g_detach, SID(1), DID);
	RUN(g_attach, SID(1), 1);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	RUN(g_detach, SID(0), DID);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	RUN(g_attach, SID(0), 1);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
}

TEST_F(groups, pass_through)
{
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	RUN(g_attach_pt, SID(0), DID);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(5), PAGE(5)));
	/* Translated and not, that cannot be. */
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	RUN(g_detach, SID(1), DID);
	RUN(g_attach_pt, SID(1), DID);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, PAGE(5), PAGE(5)));
	RUN(g_detach, SID(0), DID);
	RUN(g_detach, SID(1), DID);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, PAGE(5), PAGE(5)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, PAGE(5), PAGE(5)));
}

/* And the VMM can ask why. */
TEST_F(groups, the_reason)
{
	int control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct kviommu_get_device d;
	unsigned int i;
	__u64 n;

	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	RUN(g_attach, SID(0), 0);
	ASSERT_EQ(0, unit_set_eventfd(self->u.fd, KVIOMMU_EVENT_CONTROL, control));
	read(control, &n, sizeof(n));
	RUN(g_attach, SID(1), 1);
	EXPECT_EQ(sizeof(n), read(control, &n, sizeof(n)));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, unit_get_device(&self->u, SID(i), &d));
		EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_wanted);
		EXPECT_EQ(KVIOMMU_DMA_BLOCKED, d.out_in_force);
		EXPECT_EQ(EXDEV, d.out_error);
	}
	RUN(g_detach, SID(1), DID + 1);
	ASSERT_EQ(0, unit_get_device(&self->u, SID(0), &d));
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	EXPECT_EQ(0, d.out_error);
	/* The other one reaches what its neighbour does, though not wanted. */
	ASSERT_EQ(0, unit_get_device(&self->u, SID(1), &d));
	EXPECT_EQ(KVIOMMU_DMA_BLOCKED, d.out_wanted);
	EXPECT_EQ(KVIOMMU_DMA_TRANSLATED, d.out_in_force);
	EXPECT_EQ(0, d.out_error);
	close(control);
}

/* After a reset no device goes through what the other one had, not for a moment. */
TEST_F(groups, reset_while_they_differ)
{
	struct kviommu_stats a, b;
	int i;

	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	RUN(g_attach, SID(0), 0);
	RUN(g_attach, SID(1), 1);
	/* Takes longer than one step. */
	for (i = 1; i <= 16; i++)
		RUN(g_map, 1, IOVA + i * SZ_2M, PAGE(0), 512, MAP_RW);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(1)));
	a = unit_stats(&self->u);
	ASSERT_EQ(0, unit_reset(self->u.fd));
	b = unit_stats(&self->u);
	EXPECT_EQ(a.maps, b.maps);
	EXPECT_EQ(0, b.mapped);
	EXPECT_EQ(0, b.domains);
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(1)));
}

/* One comes and goes beside the other, which stays as it is if they agree. */
TEST_F(groups, one_leaves)
{
	RUN(g_attach, SID(0), 0);
	RUN(g_attach, SID(1), 0);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	EXPECT_EQ(1, unit_stats(&self->u).devices);
	EXPECT_EQ(DMA_REACHED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	/* The last one takes the group's translations with it. */
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(1)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 0, IOVA, PAGE(0)));
	EXPECT_EQ(DMA_BLOCKED, dma_write(&self->u, 1, IOVA, PAGE(0)));
	EXPECT_EQ(0, unit_stats(&self->u).domains);
	/* Free for others: both devices, one IOAS */
	edu_seed(&self->u.dev[0]);
	edu_seed(&self->u.dev[1]);
}

/* No two masters for one group */
TEST_F(groups, others_are_refused)
{
	__u32 ioas = ioas_alloc(self->u.iommufd);
	struct unit_config plain = { 0 };
	int other = unit_open_file();

	ASSERT_EQ(0, unit_create(other, self->u.vm.fd, self->u.iommufd,
				 self->u.ioas, &plain));
	EXPECT_EQ(EBUSY, unit_attach(other, self->u.dev[1].fd, SID(1)));
	EXPECT_EQ(EBUSY, edu_attach_ioas(&self->u.dev[1], ioas));
	ASSERT_EQ(0, unit_detach(self->u.fd, SID(0)));
	/* Now the other way round */
	ASSERT_EQ(0, edu_attach_ioas(&self->u.dev[1], ioas));
	EXPECT_EQ(EBUSY, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
	ASSERT_EQ(0, edu_detach_ioas(&self->u.dev[1]));
	EXPECT_EQ(0, unit_attach(other, self->u.dev[1].fd, SID(1)));
	EXPECT_EQ(EBUSY, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
	close(other);
	EXPECT_EQ(0, unit_attach(self->u.fd, self->u.dev[0].fd, SID(0)));
}

/* Closed with both inside, in the order of unit_close() */
TEST_F(groups, closed)
{
	struct edu edu;
	int iommufd;

	ASSERT_EQ(0, unit_attach(self->u.fd, self->u.dev[1].fd, SID(1)));
	RUN(g_attach, SID(0), 0);
	RUN(g_attach, SID(1), 0);
	unit_close(&self->u);
	iommufd = iommufd_open();
	edu_open(&edu, 0);
	edu_bind(&edu, iommufd);
	edu_seed(&edu);
	edu_close(&edu);
	close(iommufd);
	unit_open(&self->u, &variant->config);
}

TEST_HARNESS_MAIN
