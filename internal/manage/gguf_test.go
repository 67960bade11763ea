package manage

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// file makes a GGUF of some parts: texts with their lengths, []byte as they are, and numbers.
func file(wide bool, parts ...any) []byte {
	var b bytes.Buffer
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			if wide {
				_ = binary.Write(&b, binary.LittleEndian, uint64(len(part)))
			} else {
				_ = binary.Write(&b, binary.LittleEndian, uint32(len(part)))
			}
			b.WriteString(part)
		case []byte:
			b.Write(part)
		default:
			_ = binary.Write(&b, binary.LittleEndian, part)
		}
	}
	return b.Bytes()
}

// whole is a file with a value of each kind and a tensor.
func whole() []byte {
	return file(true, []byte("GGUF"), uint32(3), uint64(1), uint64(4),
		"general.architecture", uint32(8), "llama",
		"llama.block_count", uint32(4), uint32(1),
		"tokenizer.ggml.tokens", uint32(9), uint32(8), uint64(2), "a", "b",
		"tokenizer.ggml.scores", uint32(9), uint32(6), uint64(2), float32(0), float32(1),
		"token_embd.weight", uint32(2), uint64(2), uint64(1), uint32(0), uint64(0),
		make([]byte, 64))
}

func TestHeadOfAGGUFFitsIntoItsFile(t *testing.T) {
	const huge = uint64(math.MaxUint64)
	magic := []byte("GGUF")
	for name, c := range map[string]struct {
		file []byte
		want string // of the error; "" for none
	}{
		"whole":                {whole(), ""},
		"version 1":            {file(false, magic, uint32(1), uint32(0), uint32(1), "name", uint32(8), "text"), ""},
		"nothing more":         {magic, "cut short"},
		"many values":          {file(true, magic, uint32(3), uint64(0), huge), "cut short"},
		"many tensors":         {file(true, magic, uint32(3), huge, uint64(0)), "cut short"},
		"a long name":          {file(true, magic, uint32(3), uint64(0), uint64(1), huge, make([]byte, 100)), "cut short"},
		"a long text":          {file(true, magic, uint32(3), uint64(0), uint64(1), "name", uint32(8), uint64(math.MaxInt64), make([]byte, 100)), "cut short"},
		"a long list":          {file(true, magic, uint32(3), uint64(0), uint64(1), "name", uint32(9), uint32(8), uint64(1)<<60, make([]byte, 100)), "cut short"},
		"a long list of bytes": {file(true, magic, uint32(3), uint64(0), uint64(1), "name", uint32(9), uint32(12), huge/8+2, make([]byte, 100)), "cut short"},
		"many dimensions":      {file(true, magic, uint32(3), uint64(1), uint64(0), "name", uint32(math.MaxUint32), make([]byte, 100)), "cut short"},
		"an unknown type":      {file(true, magic, uint32(3), uint64(0), uint64(1), "name", uint32(99), make([]byte, 100)), "type 99"},
		"a list of lists":      {file(true, magic, uint32(3), uint64(0), uint64(1), "name", uint32(9), uint32(9), make([]byte, 100)), "type 9"},
	} {
		err := checkGGUF(bytes.NewReader(c.file), int64(len(c.file)))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	text := whole()
	for n := 4; n < len(text)-64; n++ {
		if err := checkGGUF(bytes.NewReader(text[:n]), int64(n)); err == nil {
			t.Errorf("of %d bytes the first %d are taken for a whole head", len(text), n)
		}
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(whole())
	f.Add(file(false, []byte("GGUF"), uint32(1), uint32(0), uint32(1), "name", uint32(8), "text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := checkGGUF(bytes.NewReader(data), int64(len(data))); err == nil && len(data) < 16 {
			t.Errorf("%q is taken for a head", data)
		}
	})
}
