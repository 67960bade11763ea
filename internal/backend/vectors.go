package backend

import (
	"bytes"
	"encoding/json"
	"fmt"

	"ollama-mcp/internal/fault"
)

// Vector is a vector in JSON. One that holds null, which encoding/json would read as 0, is
// read as one of no length, which CheckVectors refuses.
type Vector []float32

// UnmarshalJSON implements json.Unmarshaler.
func (v *Vector) UnmarshalJSON(raw []byte) error {
	*v = nil
	if bytes.Contains(raw, []byte("null")) {
		return nil
	}
	return json.Unmarshal(raw, (*[]float32)(v))
}

// CheckVectors says what is wrong with the vectors of so many inputs: there must be one for
// each, of numbers, and all of one length. The error is of class BadOutput where one of the
// inputs may be to blame, and of class Server where only the host can be.
func CheckVectors[V ~[]float32](vectors []V, inputs int) error {
	if len(vectors) != inputs {
		return &Error{Class: Server, Message: fault.Count(len(vectors), "vector") + " for " + fault.Count(inputs, "input")}
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
