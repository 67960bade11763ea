package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// scalar is a single value, which set accepts or refuses.
func scalar(set func(string) error) value {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Value == "" {
			return errors.New("must be a single value, and not empty")
		}
		return set(n.Value)
	}
}

func text(p *string) value {
	return scalar(func(s string) error { *p = s; return nil })
}

// texts is a text or a list of texts. The result is not nil even if the list is empty.
func texts(p *[]string) value {
	return func(n *yaml.Node) error {
		*p = []string{}
		return oneOrList(scalar(func(s string) error { *p = append(*p, s); return nil }))(n)
	}
}

func whole(p *int, least int) value {
	return scalar(func(s string) (err error) {
		if *p, err = strconv.Atoi(s); err != nil || *p < least {
			return fmt.Errorf("must be a whole number, at least %d", least)
		}
		return nil
	})
}

func decimal(p *float64) value {
	return scalar(func(s string) (err error) {
		if *p, err = strconv.ParseFloat(s, 64); err != nil || !(*p > 0) || math.IsInf(*p, 0) {
			return errors.New("must be a number above 0")
		}
		return nil
	})
}

// similarity is a number above 0.5 and up to 1, or off, which is stored as 0.
func similarity(p **float64) value {
	return scalar(func(s string) error {
		n, err := strconv.ParseFloat(s, 64)
		if s == "off" {
			n, err = 0, nil
		}
		if err != nil || !(n == 0 || n > 0.5 && n <= 1) {
			return errors.New("must be more than 0.5 and at most 1, or off")
		}
		*p = &n
		return nil
	})
}

func confidence(p *float64) value {
	return scalar(func(s string) error {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n > 0 && n < 1) {
			return errors.New("must be more than 0 and less than 1")
		}
		*p = n
		return nil
	})
}

func truth(p *bool) value {
	return scalar(func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return errNoTruth
		}
		return nil
	})
}

var errNoTruth = errors.New("must be true or false")

// wholeIn and truthIn store the value in m.
func wholeIn(m map[string]any, name string, least int) value {
	return func(n *yaml.Node) error {
		var got int
		err := whole(&got, least)(n)
		m[name] = got
		return err
	}
}

func truthIn(m map[string]any, name string) value {
	return func(n *yaml.Node) error {
		var got bool
		err := truth(&got)(n)
		m[name] = got
		return err
	}
}

// keepAlive is a duration or a number of seconds, as in Ollama's API.
func keepAlive(p **time.Duration) value {
	return scalar(func(s string) error {
		d, err := time.ParseDuration(s)
		if seconds, bad := strconv.ParseInt(s, 10, 32); bad == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil {
			return errors.New("must be a duration such as 30m, or a number of seconds; 0 = unload at once, -1 = keep for ever")
		}
		*p = &d
		return nil
	})
}

var errNoDuration = errors.New("must be a duration with a unit, such as 500ms, 30s or 1h30m")

// duration is a duration that is not negative.
func duration(p **time.Duration) value {
	return scalar(func(s string) error {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return errNoDuration
		case d < 0:
			return errNegative
		}
		*p = &d
		return nil
	})
}

// expiry is a time, or a date at whose end in UTC something expires.
func expiry(p *time.Time) value {
	return scalar(func(s string) (err error) {
		if *p, err = time.Parse(time.DateOnly, s); err == nil {
			*p = p.AddDate(0, 0, 1)
			return nil
		}
		if *p, err = time.Parse(time.RFC3339, s); err != nil {
			return errors.New("must be a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z")
		}
		return nil
	})
}

// sum is a SHA-256 sum. Its error does not quote the value, which may be the secret itself.
func sum(p *[32]byte) value {
	return scalar(func(s string) error {
		decoded, err := hex.DecodeString(s)
		if err != nil || len(decoded) != len(p) {
			return errors.New("must be the 64 hexadecimal digits of a SHA-256 sum, not the key itself")
		}
		*p = [32]byte(decoded)
		return nil
	})
}
