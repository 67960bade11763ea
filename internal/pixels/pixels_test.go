package pixels_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"golang.org/x/image/bmp"
	_ "golang.org/x/image/webp" // a decoder to compare with

	"ollama-mcp/internal/pixels"
)

// Small images of WebP, which the libraries here read and do not write.
const (
	lossy    = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"
	lossless = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="
)

func decoded(t testing.TB, text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// images are images of all forms, by name.
func images(t testing.TB, width, height int) map[string][]byte {
	img := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White})
	all := make(map[string][]byte)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"png":  func(b *bytes.Buffer) error { return png.Encode(b, img) },
		"gif":  func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) },
		"jpeg": func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) },
		"bmp":  func(b *bytes.Buffer) error { return bmp.Encode(b, img) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		all[name] = b.Bytes()
	}
	return all
}

// extended is an image of WebP with a canvas, behind a chunk that nobody knows.
var extended = []byte("RIFF\x26\x00\x00\x00WEBPmore\x03\x00\x00\x00abc\x00VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x2b\x01\x00\xc7\x00\x00")

func TestImagesOfAllFormsHaveTheirDimensions(t *testing.T) {
	check := func(name string, file []byte, width, height int) {
		t.Helper()
		if w, h, ok := pixels.Dimensions(file); w != width || h != height || !ok {
			t.Errorf("%s: %d × %d, %v; want %d × %d", name, w, h, ok, width, height)
		}
	}
	for name, file := range images(t, 300, 200) {
		check(name, file, 300, 200)
	}
	check("lossy WebP", decoded(t, lossy), 1, 1)
	check("lossless WebP", decoded(t, lossless), 1, 1)
	check("extended WebP", extended, 300, 200)
	check("BMP from the top", []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x28\x00\x00\x00\x2c\x01\x00\x00\x38\xff\xff\xff"), 300, 200)
	check("BMP of OS/2", []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x2c\x01\xc8\x00\x01\x00\x01\x00"), 300, 200)
	check("JPEG with a segment and filling before the frame", []byte("\xff\xd8\xff\xe0\x00\x04\xff\xc0??\xff\xff\xff\xc2\x00\x07\x08\x00\xc8\x01\x2c"), 300, 200)
}

func TestWhatIsNoImageHasNoDimensions(t *testing.T) {
	for name, file := range map[string]string{
		"nothing": "", "text": "hello", "a JPEG without a frame": "\xff\xd8\xff\xd9", "a JPEG whose segment is longer than it": "\xff\xd8\xff\xe0\x10\x00",
		"a JPEG whose data come first": "\xff\xd8\xff\xda\x00\x02\xff\xc0\x00\x07\x08\x00\xc8\x01\x2c", "a WebP without an image": "RIFF\x04\x00\x00\x00WEBP",
		"a chunk of 4 GB": "RIFF\x04\x00\x00\x00WEBPmore\xff\xff\xff\xff", "a BMP of negative width": "BM\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x28\x00\x00\x00\xff\xff\xff\xff\x01\x00\x00\x00",
	} {
		if w, h, ok := pixels.Dimensions([]byte(file)); ok {
			t.Errorf("%s: %d × %d", name, w, h)
		}
	}
}

// What a decoder of the standard library reads, of whatever bytes, is measured as it measures it:
// else an image that is too large could pass. One without pixels is none.
func FuzzDimensions(f *testing.F) {
	for _, file := range images(f, 3, 2) {
		f.Add(file)
		f.Add(file[:len(file)/2])
	}
	f.Add(decoded(f, lossy))
	f.Add(decoded(f, lossless))
	f.Add(extended)
	f.Add([]byte("RIFF0000WEBPVP8 000 10000")) // not a key frame
	f.Fuzz(func(t *testing.T, file []byte) {
		width, height, ok := pixels.Dimensions(file)
		want, form, err := image.DecodeConfig(bytes.NewReader(file))
		if err == nil && want.Width > 0 && want.Height > 0 && (!ok || width != want.Width || height != want.Height) {
			t.Errorf("%d × %d, %v; as %s it is %d × %d", width, height, ok, form, want.Width, want.Height)
		}
		if ok && (width < 0 || height < 0) {
			t.Errorf("%d × %d", width, height)
		}
	})
}
