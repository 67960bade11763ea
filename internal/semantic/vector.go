package semantic

import (
	"errors"
	"math"
	"math/bits"
)

var errNoDirection = errors.New("semantic: a vector that is empty, zero or not of numbers has no direction")

// normalise is a copy of a vector with length 1.
func normalise(v []float32) ([]float32, error) {
	var sum float64
	for _, f := range v {
		sum += float64(f) * float64(f)
	}
	length := math.Sqrt(sum)
	if length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return nil, errNoDirection
	}
	unit := make([]float32, len(v))
	for i, f := range v {
		unit[i] = float32(float64(f) / length)
	}
	return unit, nil
}

// dot is the inner product of two vectors of the same length. Eight sums at once
// keep the processor from waiting for each addition to end.
func dot(a, b []float32) float32 {
	var s [8]float32
	b = b[:len(a)]
	for len(a) >= 8 {
		a8, b8 := (*[8]float32)(a), (*[8]float32)(b)
		s[0] += a8[0] * b8[0]
		s[1] += a8[1] * b8[1]
		s[2] += a8[2] * b8[2]
		s[3] += a8[3] * b8[3]
		s[4] += a8[4] * b8[4]
		s[5] += a8[5] * b8[5]
		s[6] += a8[6] * b8[6]
		s[7] += a8[7] * b8[7]
		a, b = a[8:], b[8:]
	}
	for i, f := range a {
		s[0] += f * b[i]
	}
	return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]
}

// codeLen is how many words of 64 bits the sign code of a vector takes.
func codeLen(dimensions int) int { return (dimensions + 63) / 64 }

// appendCode appends the sign code of a vector: a bit for each dimension, set
// where the vector is above the centre. The angle between two vectors, as seen
// from the centre, is about π times the share of bits in which their codes differ
// (Charikar 2002, "Similarity estimation techniques from rounding algorithms").
func appendCode(codes []uint64, v, centre []float32) []uint64 {
	for len(v) > 0 {
		n := min(64, len(v))
		var word uint64
		for i, f := range v[:n] {
			// The sign bit of centre - f; a branch would be wrong half the time.
			word |= uint64(math.Float32bits(centre[i]-f)>>31) << i
		}
		codes = append(codes, word)
		v, centre = v[n:], centre[n:]
	}
	return codes
}

// differences are the numbers of bits in which codes, side by side, differ from
// another, one for each place in out. It does nothing else, so that what it needs
// stays in registers.
func differences(out []int32, codes, code []uint64) {
	if len(code) == 12 {
		for i := range out {
			out[i] = differ12((*[12]uint64)(codes), (*[12]uint64)(code))
			codes = codes[12:]
		}
		return
	}
	for i := range out {
		n := 0
		row := codes[:len(code)]
		for j, word := range code {
			n += bits.OnesCount64(word ^ row[j])
		}
		out[i] = int32(n)
		codes = codes[len(code):]
	}
}

// differ12 is for codes of 768 dimensions, as many embedding models have. Written
// out it takes two thirds of the time of a loop.
func differ12(a, b *[12]uint64) int32 {
	return int32(bits.OnesCount64(a[0]^b[0]) + bits.OnesCount64(a[1]^b[1]) + bits.OnesCount64(a[2]^b[2]) +
		bits.OnesCount64(a[3]^b[3]) + bits.OnesCount64(a[4]^b[4]) + bits.OnesCount64(a[5]^b[5]) +
		bits.OnesCount64(a[6]^b[6]) + bits.OnesCount64(a[7]^b[7]) + bits.OnesCount64(a[8]^b[8]) +
		bits.OnesCount64(a[9]^b[9]) + bits.OnesCount64(a[10]^b[10]) + bits.OnesCount64(a[11]^b[11]))
}
