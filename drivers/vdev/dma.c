/* SPDX-License-Identifier: MIT */
/*
 * The two 8237 and their page registers as bytes that read back what was written. No device here
 * does ISA DMA; drivers that reset the controllers or look whether they exist (Linux reads page
 * register 0x87) are content with this.
 */
#include "drivers/vdev/dma.h"

#include "kernel/lib/string.h"

static enum vdev_result byte_access(uint8_t *regs, struct vdev_access *acc)
{
    if (acc->size != 1) {
        return VDEV_UNHANDLED;
    }
    if (acc->write) {
        regs[acc->offset] = acc->value;
    } else {
        acc->value = regs[acc->offset];
    }
    return VDEV_HANDLED;
}

enum vdev_result dma_low_access(void *dev, struct vdev_access *acc)
{
    struct dma *dma = dev;

    return byte_access(dma->low, acc);
}

enum vdev_result dma_page_access(void *dev, struct vdev_access *acc)
{
    struct dma *dma = dev;

    return byte_access(dma->page, acc);
}

enum vdev_result dma_high_access(void *dev, struct vdev_access *acc)
{
    struct dma *dma = dev;

    return byte_access(dma->high, acc);
}

void dma_init(struct dma *dma)
{
    memset(dma, 0, sizeof(*dma));
}
