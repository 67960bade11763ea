package tinymodels

import (
	"encoding/binary"
	"io"

	"github.com/ollama/ollama/fs/ggml"
)

// values are a tensor's numbers, rows one after another.
type values []float32

// WriteTo writes the numbers as GGUF stores them.
func (v values) WriteTo(w io.Writer) (int64, error) {
	err := binary.Write(w, binary.LittleEndian, []float32(v))
	return int64(4 * len(v)), err
}

// tensor names numbers laid out in rows of width columns.
func tensor(name string, width int, v values) *ggml.Tensor {
	shape := []uint64{uint64(width)}
	if rows := len(v) / width; rows > 1 {
		shape = append(shape, uint64(rows))
	}
	return &ggml.Tensor{Name: name, Kind: uint32(ggml.TensorTypeF32), Shape: shape, WriterTo: v}
}

// zeros is a tensor that lets nothing through.
func zeros(name string, width, rows int) *ggml.Tensor {
	return tensor(name, width, make(values, width*rows))
}

// ones is a norm that leaves each column's weight alone.
func ones(name string, width int) *ggml.Tensor {
	v := make(values, width)
	for i := range v {
		v[i] = 1
	}
	return tensor(name, width, v)
}
