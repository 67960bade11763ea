package manage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// checkGGUF returns an error if the head of a file in the format GGUF, up to its tensors, does not fit
// into the file: a host may believe the lengths in it, and end with all of its calls when it asks for as
// much memory. What the head says is left to the host.
func checkGGUF(file io.ReaderAt, size int64) error {
	g := &gguf{in: bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 64<<10), left: size, wide: true}
	g.skip(4) // the magic
	g.wide = g.number(4) != 1
	tensors, values := g.length(), g.length()
	for range g.atMost(values, g.lengthSize()+4) {
		g.text()
		g.value(g.number(4))
		if g.err != nil {
			return g.err
		}
	}
	for range g.atMost(tensors, g.lengthSize()+4+4+8) {
		g.text()
		g.skip(8 * g.atMost(g.number(4), 8)) // dimensions
		g.skip(4 + 8)                        // type and offset
		if g.err != nil {
			return g.err
		}
	}
	return g.err
}

// gguf reads the head of a file. Once there is an error, it reads nothing more.
type gguf struct {
	in   *bufio.Reader
	left int64 // bytes of the file
	wide bool  // lengths have eight bytes, and not four as in version 1
	err  error
}

var errCut = errors.New("it is cut short, or a length in it is wrong")

// sizes are those of values of fixed size, in bytes, by their type.
var sizes = map[uint64]uint64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

const (
	textType  = 8
	arrayType = 9
)

func (g *gguf) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// skip passes over bytes.
func (g *gguf) skip(n uint64) {
	if g.err == nil && n > uint64(g.left) {
		g.fail(errCut)
	}
	for g.err == nil && n > 0 {
		part, err := g.in.Discard(int(min(n, 1<<30)))
		if g.left -= int64(part); err != nil {
			g.fail(err)
		}
		n -= uint64(part)
	}
}

// number reads a number of four or eight bytes.
func (g *gguf) number(size uint64) uint64 {
	var raw [8]byte
	if g.err == nil && size > uint64(g.left) {
		g.fail(errCut)
	}
	if g.err != nil {
		return 0
	}
	if _, err := io.ReadFull(g.in, raw[:size]); err != nil {
		g.fail(err)
		return 0
	}
	g.left -= int64(size)
	return binary.LittleEndian.Uint64(raw[:])
}

func (g *gguf) lengthSize() uint64 {
	if g.wide {
		return 8
	}
	return 4
}

func (g *gguf) length() uint64 { return g.number(g.lengthSize()) }

// atMost is a number of things that take at least so many bytes each, if what is left has room for them.
func (g *gguf) atMost(n, each uint64) uint64 {
	if n > uint64(g.left)/each {
		g.fail(errCut)
		return 0
	}
	return n
}

func (g *gguf) text() { g.skip(g.length()) }

// value passes over a value of a type.
func (g *gguf) value(kind uint64) {
	switch size, fixed := sizes[kind]; {
	case fixed:
		g.skip(size)
	case kind == textType:
		g.text()
	case kind == arrayType:
		kind = g.number(4)
		n := g.length()
		if size, fixed := sizes[kind]; fixed {
			g.skip(size * g.atMost(n, size))
			return
		}
		if kind != textType {
			g.fail(fmt.Errorf("it has a list of type %d, which is not known", kind))
			return
		}
		for range g.atMost(n, g.lengthSize()) {
			if g.text(); g.err != nil {
				return
			}
		}
	default:
		g.fail(fmt.Errorf("it has a value of type %d, which is not known", kind))
	}
}
