# SPDX-License-Identifier: MIT
mm-objs := mm/frame.o mm/kmap.o mm/ram.o mm/walk.o mm/track.o mm/rmap.o mm/shadow-pool.o mm/shadow-slot.o mm/shadow-sync.o \
           mm/shadow.o mm/shadow-fill.o mm/shadow-window.o mm/shadow-alias.o mm/shadow-check.o mm/shadow-show.o
mm-objs += mm/watch.o mm/dirty-log.o
kernel-objs += $(mm-objs)
