package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A footprint is what a process holds.
type footprint struct {
	memory int // resident, in MiB
	files  int // and connections
}

func footprintOf(pid int) (f footprint, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return f, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return f, err
	}
	f.files = len(entries)
	_, resident, _ := strings.Cut(string(status), "VmRSS:")
	if fields := strings.Fields(resident); len(fields) > 0 {
		kib, err := strconv.Atoi(fields[0])
		if err != nil {
			return f, err
		}
		f.memory = kib >> 10
	}
	return f, nil
}

const (
	// Answers that are kept, garbage that is not collected yet, and what the runtime does not
	// give back at once.
	moreMemory = 64
	// Connections to hosts stay open for a while.
	moreFiles      = 32
	moreGoroutines = 48
)

// settled waits until a process holds hardly more than before.
func settled(pid int, before footprint) (after footprint, err error) {
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Second) {
		after, err = footprintOf(pid)
		if err != nil || after.memory <= before.memory+moreMemory && after.files <= before.files+moreFiles {
			return after, err
		}
		if time.Now().After(deadline) {
			return after, fmt.Errorf("memory is %d MiB and was %d, open files are %d and were %d", after.memory, before.memory, after.files, before.files)
		}
	}
}

// goroutines ends a program written in Go by SIGQUIT, which makes it print its goroutines,
// and returns where they were begun.
func goroutines(p *server) (begun map[string]int, err error) {
	before := len(p.log.String())
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return nil, err
	}
	_ = p.cmd.Wait() // it ends with an error
	return goroutinesIn(p.log.String()[before:])
}

var (
	goroutineLine = regexp.MustCompile(`(?m)^goroutine \d+ .*\[`)
	createdLine   = regexp.MustCompile(`(?m)^created by (\S+)`)
)

// spareWorker is in the stack of a goroutine that waits for the next request. There is a bound for them.
const spareWorker = "workers.(*Group).run("

func goroutinesIn(dump string) (begun map[string]int, err error) {
	begun = make(map[string]int)
	for _, one := range strings.Split(dump, "\n\n") {
		if !goroutineLine.MatchString(one) || strings.Contains(one, spareWorker) {
			continue
		}
		where := "main"
		if created := createdLine.FindStringSubmatch(one); created != nil {
			where = created[1]
		}
		begun[where]++
	}
	if len(begun) == 0 {
		return nil, fmt.Errorf("no goroutines in %.300q", dump)
	}
	return begun, nil
}

// grown compares where goroutines were begun in two programs.
func grown(before, after map[string]int) error {
	sum := func(m map[string]int) (n int) {
		for _, more := range m {
			n += more
		}
		return n
	}
	if sum(after) <= sum(before)+moreGoroutines {
		return nil
	}
	var most []string
	for where, n := range after {
		if n > before[where] {
			most = append(most, fmt.Sprintf("%4d, were %d: %s", n, before[where], where))
		}
	}
	slices.Sort(most)
	slices.Reverse(most)
	return fmt.Errorf("there are %d goroutines, and %d in a program at rest:\n%s", sum(after), sum(before), strings.Join(most[:min(10, len(most))], "\n"))
}

const (
	longestLine = 4 << 10 // bytes
	flood       = 60      // lines that say the same, in a minute
)

var (
	lineForm = regexp.MustCompile(`^time=(\S+) level=(DEBUG|INFO|WARN|ERROR) msg=`)
	ofACall  = regexp.MustCompile(` msg="(call served|call failed)`)
	varying  = regexp.MustCompile(`\d+|"[^"]*$`)
)

// unreadable returns what makes a log hard to read: a line that is too long or has another
// form, and the same said again and again. A line for each call is as it should be.
func unreadable(log string) (faults []string) {
	said := make(map[string]int)
	lines := bufio.NewScanner(strings.NewReader(log))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		form := lineForm.FindStringSubmatch(line)
		switch {
		case form == nil:
			faults = append(faults, fmt.Sprintf("a line of another form: %.300q", line))
		case len(line) > longestLine:
			faults = append(faults, fmt.Sprintf("a line of %d bytes: %.300q", len(line), line))
		case ofACall.MatchString(line):
		default:
			minute := form[1][:min(len(form[1]), len("2006-01-02T15:04"))]
			what := minute + " " + varying.ReplaceAllString(strings.TrimPrefix(line, form[0]), "#")
			if said[what]++; said[what] == flood {
				faults = append(faults, fmt.Sprintf("%d times in a minute: %.300q", flood, line))
			}
		}
	}
	return faults
}
