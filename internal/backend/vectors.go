package backend

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"ollama-mcp/internal/fault"
)

// Vector is a vector in JSON: a list of numbers, or the bytes of a list of 32-bit floats in base64,
// which some servers send unasked. One that holds anything else, such as null, which encoding/json
// would read as 0, is read as one of no length, which CheckVectors refuses.
type Vector []float32

// UnmarshalJSON implements json.Unmarshaler.
func (v *Vector) UnmarshalJSON(raw []byte) error {
	*v = nil
	var inBase64 []byte
	switch {
	case raw[0] == '"' && json.Unmarshal(raw, &inBase64) == nil && len(inBase64)%4 == 0:
		for bits := range slices.Chunk(inBase64, 4) {
			*v = append(*v, math.Float32frombits(binary.LittleEndian.Uint32(bits)))
		}
	case raw[0] == '[' && !bytes.Contains(raw, []byte("null")) && json.Unmarshal(raw, (*[]float32)(v)) != nil:
		*v = nil
	}
	if slices.ContainsFunc(*v, func(f float32) bool { return f-f != 0 }) { // NaN and infinite
		*v = nil
	}
	return nil
}

// ErrVectorCount is the cause of an error that says that there are more or fewer vectors than
// inputs. Some servers leave out an input that they cannot embed.
var ErrVectorCount = errors.New("not one vector for each input")

// CheckVectors says what is wrong with the vectors of so many inputs: there must be one for
// each, of numbers, and all of one length. The error is of class BadOutput where one of the
// inputs may be to blame, and of class Server where only the host can be.
func CheckVectors[V ~[]float32](vectors []V, inputs int) error {
	if len(vectors) != inputs {
		return &Error{Class: Server, Err: ErrVectorCount, Message: fault.Count(len(vectors), "vector") + " for " + fault.Count(inputs, "input")}
	}
	for i, v := range vectors {
		switch {
		case len(v) == 0:
			return &Error{Class: BadOutput, Message: fmt.Sprintf("the vector of text %d of %d is empty, or contains something other than numbers", i+1, inputs)}
		case len(v) != len(vectors[0]):
			return &Error{Class: Server, Message: fmt.Sprintf("the vectors differ in length: %d and %d", len(vectors[0]), len(v))}
		}
	}
	return nil
}
