package cache

const (
	// roomForWork is what a program may take beside a small cache, in bytes: with less
	// it would do little but collect garbage.
	roomForWork = 24 << 20
	// onTop is what comes on top of a limit, in bytes: the program's own code, and what
	// is asked for while garbage is collected.
	onTop = 8 << 20
)

// MemoryLimit is a limit, in bytes, for debug.SetMemoryLimit in a program with a
// cache of a size, so that the process stays within half as much again, or 32 MiB more
// if that is more. By default Go lets garbage take as much as all that is in use, so a
// full cache takes twice its size. To collect more often costs little here: kept answers
// hold few pointers, and their texts are not read.
func MemoryLimit(size int64) int64 { return size + max(size/2-onTop, roomForWork) }
