// Package pixels tells how large an image is, without decoding it.
//
// It reads the head of an image alone, in the forms that Ollama decodes, and some more: PNG,
// JPEG, GIF, BMP and WebP. What is too large is up to the user of the package.
package pixels

import (
	"bytes"
	"encoding/binary"
)

// Dimensions returns the width and height of an image. ok is false if its format is not known or
// its header is broken, so that a decoder will refuse it too. A header that a decoder would refuse
// for another reason may have dimensions all the same.
func Dimensions(file []byte) (width, height int, ok bool) {
	for _, read := range []func([]byte) (width, height int, ok bool){png, jpeg, gif, bmp, webp} {
		if width, height, ok = read(file); ok {
			return width, height, true
		}
	}
	return 0, 0, false
}

func png(file []byte) (width, height int, ok bool) {
	rest, isPNG := bytes.CutPrefix(file, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"))
	if !isPNG || len(rest) < 8 {
		return 0, 0, false
	}
	return int(binary.BigEndian.Uint32(rest)), int(binary.BigEndian.Uint32(rest[4:])), true
}

func gif(file []byte) (width, height int, ok bool) {
	if len(file) < 10 || string(file[:4]) != "GIF8" || file[5] != 'a' {
		return 0, 0, false
	}
	return int(binary.LittleEndian.Uint16(file[6:])), int(binary.LittleEndian.Uint16(file[8:])), true
}

func bmp(file []byte) (width, height int, ok bool) {
	if len(file) < 26 || string(file[:2]) != "BM" {
		return 0, 0, false
	}
	head := file[14:] // begins with its length
	if binary.LittleEndian.Uint32(head) == 12 {
		return int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:])), true
	}
	width, height = int(int32(binary.LittleEndian.Uint32(head[4:]))), int(int32(binary.LittleEndian.Uint32(head[8:])))
	return width, max(height, -height), width >= 0 // the rows of a negative height begin at the top
}

// jpeg looks for the start of the frame, before which there may be any number of segments. Like
// decoders, it skips what is no segment.
func jpeg(file []byte) (width, height int, ok bool) {
	rest, isJPEG := bytes.CutPrefix(file, []byte("\xff\xd8"))
	for isJPEG {
		at := bytes.IndexByte(rest, 0xff)
		if at < 0 {
			break
		}
		for rest = rest[at:]; len(rest) > 0 && rest[0] == 0xff; { // which may be repeated
			rest = rest[1:]
		}
		if len(rest) < 3 {
			break
		}
		marker, size := rest[0], int(binary.BigEndian.Uint16(rest[1:]))
		switch {
		case marker == 0, marker == 0x01, 0xd0 <= marker && marker <= 0xd8: // have no segment
			rest = rest[1:]
			continue
		case marker == 0xd9, marker == 0xda: // the end, and the data
			return 0, 0, false
		case size < 2 || len(rest) < 1+size:
			return 0, 0, false
		case 0xc0 <= marker && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc && size >= 7:
			return int(binary.BigEndian.Uint16(rest[6:])), int(binary.BigEndian.Uint16(rest[4:])), true
		}
		rest = rest[1+size:]
	}
	return 0, 0, false
}

// webp reads the first chunk that has dimensions, and skips those that are not known.
func webp(file []byte) (width, height int, ok bool) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WEBP" {
		return 0, 0, false
	}
	for rest := file[12:]; len(rest) >= 8; {
		kind, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		data := rest[8:]
		switch kind {
		case "VP8X": // the canvas
			if len(data) < 10 {
				return 0, 0, false
			}
			return 1 + int(uint24(data[4:])), 1 + int(uint24(data[7:])), true
		case "VP8L":
			if len(data) < 5 || data[0] != 0x2f {
				return 0, 0, false
			}
			bits := binary.LittleEndian.Uint32(data[1:])
			return 1 + int(bits&0x3fff), 1 + int(bits>>14&0x3fff), true
		case "VP8 ":
			if len(data) < 10 || string(data[3:6]) != "\x9d\x01\x2a" {
				return 0, 0, false
			}
			return int(binary.LittleEndian.Uint16(data[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[8:]) & 0x3fff), true
		}
		rest = data[min(size+size%2, int64(len(data))):]
	}
	return 0, 0, false
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }
