# SPDX-License-Identifier: GPL-2.0-only
#
# make [KDIR=...]	build kviommu.ko against a configured kernel tree or its
#			headers (default: those of the running kernel)
# make guest [KDIR=...]	the same with coiommu.ko, for guests
# make demo		the whole path in an emulated host, with figures
# make check		the tests, in the emulated host
# make check-long	those that take hours, on more kernels
# make coverage		what of the module the tests reach
# make bench		what all of it costs, beside other virtual IOMMUs;
#			BENCH="-c qemu-intel ..." are options of tools/bench/run
# make bench-icount	how many instructions a map and an unmap cost

KDIR ?= /lib/modules/$(shell uname -r)/build

# What the host's kernel has to be built with.
NEEDS := CONFIG_IOMMUFD CONFIG_VFIO_DEVICE_CDEV CONFIG_KVM_EXTERNAL_WRITE_TRACKING \
	 CONFIG_VHOST_TASK
# Guests' have it with CONFIG_GART_IOMMU or CONFIG_XEN.
guest: NEEDS := CONFIG_ARCH_HAS_DMA_OPS
auto_conf := $(KDIR)/include/config/auto.conf
missing = $(foreach n,$(NEEDS),$(if $(shell grep -sE '^$(n)=[ym]' $(auto_conf)),,$(n)))

module = drivers/iommu/kviommu/kviommu.ko

.PHONY: all modules modules_install guest clean config-check demo check check-long coverage \
	static bench bench-icount

all: modules

config-check:
	@test -f $(auto_conf) || { \
		echo "kviommu: no kernel headers in $(KDIR): install them, or name a" \
			"configured kernel tree with KDIR=" >&2; \
		exit 1; }
	@missing="$(strip $(missing))"; test -z "$$missing" || { \
		echo "kviommu: the kernel of $(KDIR) lacks: $$missing" >&2; \
		exit 1; }

modules: config-check
	$(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_KVIOMMU=m modules
	cp $(module) kviommu.ko

guest: config-check
	$(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_COIOMMU=m modules
	cp drivers/iommu/coiommu/coiommu.ko coiommu.ko

modules_install: config-check
	$(MAKE) -C $(KDIR) M=$(CURDIR) CONFIG_KVIOMMU=m modules_install

# Not by the kernel's own rule, which would look into build/, too.
clean:
	find drivers \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o \
		-name '.*.cmd' -o -name 'modules.order' \) -type f -delete
	rm -f kviommu.ko coiommu.ko Module.symvers modules.order .module-common.o .*.cmd

demo:
	tools/lab/demo

check:
	tools/lab/check

check-long:
	tools/lab/check-long

coverage:
	tools/lab/coverage

static:
	tools/check/static

bench:
	tools/bench/run $(BENCH)

bench-icount:
	tools/icount/run
	tools/icount/run -g 16
	tools/icount/run -p sidecore
	tools/icount/run -p adaptive
	tools/icount/run -i nested
	tools/icount/run -i nested -g 16
	tools/icount/run -i nested -p sidecore
	tools/icount/run -i nested -p adaptive
	tools/bench/run -i
