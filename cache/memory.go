package cache

// roomForWork is what a program may take beside a small cache, in bytes: with less
// it would do little but collect garbage.
const roomForWork = 32 << 20

// MemoryLimit is a limit, in bytes, for debug.SetMemoryLimit in a program with a
// cache of a size: half as much again, and at least 32 MiB more than the cache. By
// default Go lets garbage take as much as all that is in use, so a full cache takes
// twice its size. To collect more often costs little here: kept answers hold few
// pointers, and their texts are not read.
func MemoryLimit(size int64) int64 { return size + max(size/2, roomForWork) }
