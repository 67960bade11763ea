package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"ollama-mcp/internal/nearest"
)

// Parse takes each option from args, else from the environment, else from the file, if one
// is named. fs is what Flags returned, with any flags that a command adds.
//
// Even if Parse fails, Files, KeyFiles and ScopesRead say what could be read.
func Parse(fs *FlagSet, c *Config, args []string, getenv func(string) string) error {
	return parse(fs, c, args, &reader{c: c, fs: fs, getenv: getenv})
}

// Reload is Parse for a program that runs with a configuration already. If the configuration
// file is refused before it names a token file, that of the last configuration is read.
func Reload(last Config, args []string, getenv func(string) string) (Config, error) {
	var c Config
	fs := Flags(&c)
	err := parse(fs, &c, args, &reader{c: &c, fs: fs, getenv: getenv, lastTokenFile: last.TokenFile, lastClientCA: last.TLSClientCA})
	return c, err
}

func parse(fs *FlagSet, c *Config, args []string, r *reader) error {
	if err := fs.Parse(args); err != nil {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			return fmt.Errorf("--%s: %w", bad.GetFlag().Name, invalid(bad.GetFlag(), bad.GetValue(), bad.Unwrap()))
		}
		if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && strings.HasPrefix(err.Error(), "unknown flag") {
			var names []string
			fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if near := nearest.Names(unknown.GetSpecifiedName(), names, 1); near != nil {
				return fmt.Errorf("%w; did you mean --%s?", err, near[0])
			}
		}
		return err
	}
	if err := environment(fs, r.getenv); err != nil {
		return err
	}
	c.APIKey, c.RedisPassword = r.getenv("OLLAMA_API_KEY"), r.getenv("REDIS_PASSWORD")
	if err := r.read(); err != nil {
		return err
	}
	c.options, c.set = make(map[string]string), make(map[string]bool)
	fs.VisitAll(func(f *pflag.Flag) { c.options[f.Name], c.set[f.Name] = f.Value.String(), f.Changed })
	return c.check(fs)
}

// IsSet reports whether an option was given, be it with the value that it has by default.
func (c *Config) IsSet(option string) bool { return c.set[option] }

// Variable is the environment variable of an option.
func Variable(option string) string {
	return "OLLAMA_MCP_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// Misspelled warns of variables that nearly have the name of that of an option, and so change nothing.
// fs has all options, and environ is like that of os.Environ.
func Misspelled(fs *FlagSet, environ []string) (warnings []string) {
	const prefix = "OLLAMA_MCP_"
	var known []string
	fs.VisitAll(func(f *pflag.Flag) { known = append(known, strings.TrimPrefix(Variable(f.Name), prefix)) })
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		short, ours := strings.CutPrefix(name, prefix)
		isKubernetes := strings.HasPrefix(short, "SERVICE_") || strings.HasPrefix(short, "PORT") // the links of a service called ollama-mcp
		if !ours || value == "" || short == "KEY" || isKubernetes || slices.Contains(known, short) {
			continue
		}
		if near := nearest.Names(short, known, 1); near != nil {
			warnings = append(warnings, "the variable "+name+" is that of no option; did you mean "+prefix+near[0]+"?")
		}
	}
	return warnings
}

// environment sets the options that no flag has set.
func environment(fs *FlagSet, getenv func(string) string) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		value := getenv(Variable(f.Name))
		if f.Changed || value == "" || err != nil {
			return
		}
		if bad := f.Value.Set(value); bad != nil {
			err = fmt.Errorf("%s: %w", Variable(f.Name), invalid(f, value, bad))
		}
		set(f, Variable(f.Name))
	})
	return err
}

// origin is the key of the annotation that says where the value of an option came from, if
// not from a flag.
const origin = "origin"

// set records that an option has a value, and where the value came from.
func set(f *pflag.Flag, from string) {
	f.Changed = true
	f.Annotations = map[string][]string{origin: {from}}
}

// from says where the value of an option came from.
func from(f *pflag.Flag) string {
	if noted := f.Annotations[origin]; noted != nil {
		return noted[0]
	}
	return "--" + f.Name
}

// wrong is the error for a value that the type of its option accepts but check does not.
func wrong(f *pflag.Flag, why string) error { return errors.New(from(f) + ": " + why) }

// invalid is the error for a value that the type of its option does not accept. A list is not
// quoted, since the address of a host may hold a password.
func invalid(f *pflag.Flag, value string, err error) error {
	isNumber := true
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		err = number.Err // without the name of a Go function
		isNumber = err != strconv.ErrSyntax
	}
	if _, isList := f.Value.(pflag.SliceValue); isList {
		return errors.New("must be a list separated by commas")
	}
	switch kind := f.Value.Type(); {
	case kind == "duration":
		err = errNoDuration
	case kind == "bool":
		err = errNoTruth
	case f.Name == "log-level":
		err = errors.New("must be debug, info, warn or error")
	case !isNumber && kind == "int":
		err = errors.New("must be a whole number")
	case !isNumber:
		err = errors.New("must be a number")
	}
	return fmt.Errorf("%q: %w", value, err)
}
