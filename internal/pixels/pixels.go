// Package pixels tells how large an image is, without decoding it.
//
// It reads the head of an image alone, in the forms that Ollama decodes, and some more. What is
// too large is up to the user of the package.
package pixels

import (
	"bytes"
	"image"
	_ "image/gif"  // reads its dimensions
	_ "image/jpeg" // likewise
	_ "image/png"  // likewise

	_ "golang.org/x/image/bmp"  // likewise
	_ "golang.org/x/image/webp" // likewise
)

// Dimensions returns the width and height of an image. ok is false if its format is not known or
// its header is broken, so that a decoder will refuse it too.
func Dimensions(file []byte) (width, height int, ok bool) {
	head, _, err := image.DecodeConfig(bytes.NewReader(file))
	return head.Width, head.Height, err == nil
}
