package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestHelpHasEachGroupAndEachOptionOnce(t *testing.T) {
	help := Usages(100)
	for _, g := range groups {
		if strings.Count(help, "\n"+g.title+":\n") != 1 {
			t.Errorf("the group %s is not there once: is its first option %s still declared, and in this order?", g.title, g.first)
		}
	}
	Flags(new(Config)).VisitAll(func(f *pflag.Flag) {
		if strings.Count(help, "      --"+f.Name+" ") != 1 {
			t.Errorf("--%s is not there once", f.Name)
		}
	})
}
