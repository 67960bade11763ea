package inference

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// pngOf is the head of a PNG with these dimensions.
func pngOf(width, height uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	head = append(binary.BigEndian.AppendUint32(head, height), 8, 6, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(head))
}

// withDimensions puts other dimensions into the head of a small image of 1 × 1 pixels.
func withDimensions(file, was, is []byte) []byte { return bytes.Replace(file, was, is, 1) }

func TestImagesAreBoundedByTheirDimensions(t *testing.T) {
	var jpg, gf bytes.Buffer
	if err := jpeg.Encode(&jpg, image.NewGray(image.Rect(0, 0, 1, 1)), nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&gf, image.NewPaletted(image.Rect(0, 0, 1, 1), color.Palette{color.Black}), nil); err != nil {
		t.Fatal(err)
	}
	webp := func(dims ...byte) []byte { // extended form
		return append([]byte("RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00"), dims...)
	}
	bmp := make([]byte, 54)
	copy(bmp, "BM")
	for at, n := range map[int]uint32{10: 54, 14: 40, 18: 60000, 22: 60000} {
		binary.LittleEndian.PutUint32(bmp[at:], n)
	}
	bmp[26], bmp[28] = 1, 24
	large := pngOf(8000, 8000) // as large as one may be
	for name, tt := range map[string]struct {
		images []backend.ImageData
		want   string // words of the error; "" if the host is asked
	}{
		"small":                   {[]backend.ImageData{pngOf(4000, 3000), jpg.Bytes(), gf.Bytes()}, ""},
		"as large as one may be":  {[]backend.ImageData{large}, ""},
		"of no known form":        {[]backend.ImageData{[]byte("\x00\x00\x01\x00icon")}, ""},
		"with a broken head":      {[]backend.ImageData{large[:20]}, ""},
		"PNG":                     {[]backend.ImageData{jpg.Bytes(), pngOf(8001, 8000)}, `[1]" is an image of 8001 × 8000 pixels, more than 64 million`},
		"PNG that is only wide":   {[]backend.ImageData{pngOf(1<<31-1, 1)}, `[0]" is an image of 2147483647 × 1 pixels`},
		"JPEG":                    {[]backend.ImageData{withDimensions(jpg.Bytes(), []byte{8, 0, 1, 0, 1}, []byte{8, 0xff, 0xff, 0xff, 0xff})}, `[0]" is an image of 65535 × 65535 pixels`},
		"GIF":                     {[]backend.ImageData{withDimensions(gf.Bytes(), []byte{1, 0, 1, 0}, []byte{0xff, 0xff, 0xff, 0xff})}, `[0]" is an image of 65535 × 65535 pixels`},
		"WebP":                    {[]backend.ImageData{webp(0xff, 0x3f, 0, 0xff, 0x3f, 0)}, `[0]" is an image of 16384 × 16384 pixels`},
		"BMP":                     {[]backend.ImageData{bmp}, `[0]" is an image of 60000 × 60000 pixels`},
		"too many pixels in all":  {[]backend.ImageData{large, large, large, large, pngOf(1, 1)}, `[4]" have more than 256 million pixels together`},
		"as many as there may be": {[]backend.ImageData{large, large, large, large}, ""},
	} {
		for kind, req := range map[string]Request{
			"images":             {Kind: Generate, Prompt: "?", Images: tt.images},
			"messages[1].images": {Kind: Chat, Messages: []backend.Message{{Role: "user", Content: "?"}, {Role: "user", Images: tt.images}}},
		} {
			err := checkImages(&req)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("%s in %s: %v", name, kind, err)
			case tt.want == "":
			case err == nil || fault.Of(err).Code != fault.InvalidArgument || !strings.Contains(err.Error(), kind+tt.want) || !strings.Contains(err.Error(), "scale it down"):
				t.Errorf("%s in %s: got %v", name, kind, err)
			}
		}
	}
}

// FuzzImages checks that reading the dimensions takes no more memory than the head is long.
func FuzzImages(f *testing.F) {
	f.Add(pngOf(8001, 8000))
	f.Add([]byte("GIF89a\xff\xff\xff\xff\x80\x00\x00"))
	f.Add([]byte("RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		head, _, err := image.DecodeConfig(bytes.NewReader(data))
		refused := checkImages(&Request{Images: []backend.ImageData{data}}) != nil
		if tooLarge := err == nil && head.Width > 64_000_000/max(head.Height, 1); refused != tooLarge {
			t.Errorf("an image of %d × %d is refused: %v", head.Width, head.Height, refused)
		}
	})
}
