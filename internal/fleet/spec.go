package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Spec describes a host, or all hosts behind one name in DNS.
type Spec struct {
	// Name stands for the host in results, logs and errors. The name of a host found
	// through DNS has its address behind it, as in gpu@10.0.0.5.
	Name string
	// URL is the address of the host. With dns+ before http:// or https://, every address
	// of the name in it is a host.
	URL string
	// Slots is how many requests the host gets at once; 0 leaves that to the pool.
	Slots int
	// Weight is what part of the calls the host is given beside others; 0 means 1.
	Weight float64

	APIKey string // sent to the host as a bearer token; "" for none
	CAFile string // PEM file of authorities trusted beside the system's; "" for none
}

// Fixed returns the spec without dns+, and whether it had that. The result stands for one
// host: any of those behind the name.
func (s Spec) Fixed() (_ Spec, dns bool) {
	const dnsScheme = "dns+"
	dns = len(s.URL) >= len(dnsScheme) && strings.EqualFold(s.URL[:len(dnsScheme)], dnsScheme)
	if dns {
		s.URL = s.URL[len(dnsScheme):]
	}
	return s, dns
}

// at returns the spec of the host at one address behind the name.
func (s Spec) at(addr netip.Addr) Spec {
	s, dns := s.Fixed()
	if dns {
		s.Name += "@" + addr.String()
	}
	return s
}

// sized returns the spec with the slots and the weight of another.
func (s Spec) sized(other Spec) Spec {
	s.Slots, s.Weight = other.Slots, other.Weight
	return s
}

// dnsName returns the name to look up, or "" if the URL stands for one host. Its error does
// not quote the URL, which may hold a password.
func (s Spec) dnsName() (string, error) {
	s, dns := s.Fixed()
	if !dns {
		return "", nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("the URL must have the form dns+http://NAME or dns+https://NAME")
	}
	return u.Hostname(), nil
}

// check refuses mistakes that can be seen without opening a host, above all names that do
// not tell hosts apart.
func check(specs []Spec) error {
	seen := make(map[string]bool)
	for i, s := range specs {
		switch {
		case s.Name == "":
			return fmt.Errorf("host %d has no name", i+1)
		case strings.Contains(s.Name, "@"):
			return fmt.Errorf("host %s: a name cannot contain @, which separates the name and the address of a host found through DNS", s.Name)
		case seen[s.Name]:
			return fmt.Errorf("two hosts are named %s", s.Name)
		case !(s.Weight >= 0):
			return fmt.Errorf("host %s: weight cannot be negative", s.Name)
		case s.Slots < 0:
			return fmt.Errorf("host %s: slots cannot be negative", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}
