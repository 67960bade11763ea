package config

import (
	"errors"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes that is written with its unit, such as 512MiB or 2GB. The zero value
// stands for none given.
type Size int64

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return errors.New("must be a size such as 512MiB or 2GiB")
	}
	*s = Size(n)
	return nil
}

// String is the size as Set takes it.
func (s *Size) String() string {
	switch n := uint64(*s); {
	case n == 0:
		return ""
	case n%humanize.GiByte == 0:
		return strconv.FormatUint(n/humanize.GiByte, 10) + "GiB"
	case n%humanize.MiByte == 0:
		return strconv.FormatUint(n/humanize.MiByte, 10) + "MiB"
	default:
		return strconv.FormatUint(n, 10) + "B"
	}
}

// Type implements pflag.Value.
func (*Size) Type() string { return "size" }
