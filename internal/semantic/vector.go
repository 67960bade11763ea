package semantic

import (
	"errors"
	"math"
	"math/bits"
)

var errNoDirection = errors.New("semantic: a vector that is empty, zero or not of numbers has no direction")

// normalise returns a copy of a vector scaled to length 1.
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

// dot returns the inner product of two vectors of the same length. Four independent sums
// let the processor overlap additions.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for len(a) >= 8 {
		a8, b8 := (*[8]float32)(a), (*[8]float32)(b)
		s0 += a8[0]*b8[0] + a8[4]*b8[4]
		s1 += a8[1]*b8[1] + a8[5]*b8[5]
		s2 += a8[2]*b8[2] + a8[6]*b8[6]
		s3 += a8[3]*b8[3] + a8[7]*b8[7]
		a, b = a[8:], b[8:]
	}
	for i, f := range a {
		s0 += f * b[i]
	}
	return s0 + s1 + s2 + s3
}

// codeLen is the length of a sign code in words of 64 bits.
func codeLen(dimensions int) int { return (dimensions + 63) / 64 }

// appendCode appends the sign code of a vector: one bit per dimension, set where the vector
// is above the centre. Seen from the centre, the angle between two vectors is about π times
// the share of bits in which their codes differ
// (Charikar 2002, "Similarity estimation techniques from rounding algorithms").
func appendCode(codes []uint64, v, centre []float32) []uint64 {
	for len(v) > 0 {
		n := min(64, len(v))
		var word uint64
		for i, f := range v[:n] {
			word |= sign(f, centre[i]) << i
		}
		codes = append(codes, word)
		v, centre = v[n:], centre[n:]
	}
	return codes
}

// sign is 1 above the centre: the sign bit of centre - f. A branch would be mispredicted
// half the time.
func sign(f, centre float32) uint64 { return uint64(math.Float32bits(centre-f) >> 31) }

// differences counts the bits in which two codes differ.
func differences(a, b []uint64) (n int32) {
	for i, word := range a {
		n += int32(bits.OnesCount64(word ^ b[i]))
	}
	return n
}

// sketch is the part of a sign code that a scan reads. It is less exact than the code, but
// a scan takes half the time that codes of 768 dimensions take, which is what many
// embedding models have.
type sketch [sketchBits / 64]uint64

const sketchBits = 384

// sketchOf samples the dimensions evenly, because models may put more information into
// some ranges of dimensions than into others.
func sketchOf(v, centre []float32) (s sketch) {
	step := (len(v) + sketchBits - 1) / sketchBits
	for bit := 0; bit*step < len(v); bit++ {
		s[bit/64] |= sign(v[bit*step], centre[bit*step]) << (bit % 64)
	}
	return s
}

// scan writes to out the number of bits in which each sketch differs from another one. It
// does nothing else, so that its operands stay in registers.
func scan(out []int32, sketches []sketch, from sketch) {
	sketches = sketches[:len(out)]
	f0, f1, f2, f3, f4, f5 := from[0], from[1], from[2], from[3], from[4], from[5]
	for i := range out {
		s := &sketches[i]
		out[i] = int32(bits.OnesCount64(s[0]^f0) + bits.OnesCount64(s[1]^f1) + bits.OnesCount64(s[2]^f2) +
			bits.OnesCount64(s[3]^f3) + bits.OnesCount64(s[4]^f4) + bits.OnesCount64(s[5]^f5))
	}
}
