/* SPDX-License-Identifier: MIT */
/* The registers of the PC's DMA controllers, without DMA (drivers/vdev/dma.c). */
#ifndef DRIVERS_VDEV_DMA_H
#define DRIVERS_VDEV_DMA_H

#include "drivers/vdev/vdev.h"

#define DMA_LOW_PORTS  0x20 /* at 0x00: first 8237, twice */
#define DMA_PAGE_PORTS 0x10 /* at 0x80: page registers; the first is the POST code */
#define DMA_HIGH_PORTS 0x20 /* at 0xc0: second 8237, registers 2 ports apart */

struct dma {
    uint8_t low[DMA_LOW_PORTS], page[DMA_PAGE_PORTS], high[DMA_HIGH_PORTS];
};

void dma_init(struct dma *dma);

/* struct vdev_range.access; dev is struct dma */
enum vdev_result dma_low_access(void *dev, struct vdev_access *acc);
enum vdev_result dma_page_access(void *dev, struct vdev_access *acc);
enum vdev_result dma_high_access(void *dev, struct vdev_access *acc);

#endif
