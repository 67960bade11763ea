package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dnsName is the name behind which one of the hosts is found. Ollama answers to names that end so.
const dnsName = "ollama.internal"

// Addresses at which that host is found.
const (
	firstAddress  = "127.0.0.1"
	secondAddress = "127.0.0.9"
)

// lookupEvery is a little more than the time between two lookups of a name by the program.
const lookupEvery = 40 * time.Second

// A world is what surrounds the programs on their machine: names of hosts, the disk and the clock.
type world struct {
	dir string
	// names is whether the programs see a file of names of their own in place of /etc/hosts. That
	// takes a mount namespace, which not every system gives to every user.
	names bool
}

func newWorld(dir string) (*world, error) {
	w := &world{dir: dir}
	w.names = exec.Command("unshare", "-rm", "true").Run() == nil
	return w, w.resolve(firstAddress)
}

func (w *world) hostsFile() string { return filepath.Join(w.dir, "hosts") }

// resolve sets the addresses behind dnsName. The file stays the same, since it is mounted.
func (w *world) resolve(addresses ...string) error {
	text := "127.0.0.1 localhost\n"
	for _, address := range addresses {
		text += address + " " + dnsName + "\n"
	}
	return os.WriteFile(w.hostsFile(), []byte(text), 0o600)
}

// command is a program in this world.
func (w *world) command(bin string, args ...string) *exec.Cmd {
	if w.names {
		inside := []string{"-rm", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, w.hostsFile(), bin}
		return exec.Command("unshare", append(inside, args...)...)
	}
	return exec.Command(bin, args...)
}

// wander has the name stand for another address, for none, for two, and for the first again, as
// long as ctx lasts. It goes on beside the other faults, since the program looks names up rarely.
func (s *soak) wander(ctx context.Context) {
	if !s.world.names {
		return
	}
	for ctx.Err() == nil {
		for _, addresses := range [][]string{{secondAddress}, {}, {firstAddress, secondAddress}, {firstAddress}} {
			s.say("%s is at %v", dnsName, addresses)
			if err := s.world.resolve(addresses...); err != nil {
				s.violate("%s could not be moved: %v", dnsName, err)
			}
			s.faulted("moved in DNS")
			pause(ctx, lookupEvery)
		}
	}
	if err := s.world.resolve(firstAddress); err != nil {
		s.violate("%s could not be moved: %v", dnsName, err)
	}
}

// fill has a program find no room for anything in a file, until free is called. A process may not
// be given a full disk without rights of its own, but it may not let a file grow.
func (w *world) fill(pid int) (free func() error, err error) {
	limit := func(size string) error {
		out, err := exec.Command("prlimit", "--pid", strconv.Itoa(pid), "--fsize="+size+":unlimited").CombinedOutput()
		if err != nil {
			return fmt.Errorf("prlimit: %w: %s", err, out)
		}
		return nil
	}
	return func() error { return limit("unlimited") }, limit("0")
}

// Providers are a host by the API of OpenAI, with daily budgets. One has more than enough. The other
// is for calls on a day from which the clock has been set back.
const (
	provider = "cloud"
	metered  = "metered"
	budget   = 1_000_000

	overBudget = "over budget" // is the kind of a call that has to fail for good
)

// spent are the calls of a provider on a day, as the programs count them in a file.
type spent struct {
	Day    string `json:"day"`
	Calls  int    `json:"calls"`
	Tokens int    `json:"tokens"`
}

// setBack makes the file what it is after the budget was used up and the clock then set back by a
// day. It stays so: nothing of that day is left to be spent, whatever the clock says.
func (w *world) setBack() error {
	file := filepath.Join(w.dir, ".config", "ollama-mcp", "budget.json")
	lock, err := os.OpenFile(file+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	all := make(map[string]spent)
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return err
	}
	all[metered] = spent{Day: time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly), Calls: budget}
	if text, err = json.Marshal(all); err != nil {
		return err
	}
	return replace(file, string(text))
}

// faultsOfWorld are not those of one host.
var faultsOfWorld = []fault{
	{"asked by programs on a full disk", func(ctx context.Context, s *soak, _ *host, hold time.Duration) error {
		pids := []int{s.http.cmd.Process.Pid}
		for _, p := range s.pipes {
			pids = append(pids, p.cmd.Process.Pid)
		}
		for _, pid := range pids {
			free, err := s.world.fill(pid)
			if err != nil {
				return err
			}
			defer func() {
				if err := free(); err != nil {
					s.violate("the disk stays full: %v", err)
				}
			}()
		}
		pause(ctx, hold)
		return nil
	}},
	{"asked though the clock was set back", func(ctx context.Context, s *soak, _ *host, _ time.Duration) error {
		if err := s.world.setBack(); err != nil {
			return err
		}
		c := ofProvider(rand.New(rand.NewPCG(s.seed, 5)))
		c.kind = overBudget
		c.args["cache"], c.args["model"] = "off", metered+"/tiny-says"
		if how := s.make(ctx, s.honest, c); how == ok {
			s.violate("a call beyond the budget was answered after the clock had been set back")
		}
		return nil
	}},
}

// hostURL is where the configuration says that a host is.
func (s *soak) hostURL(h *host) string {
	if h.name == s.hosts[len(s.hosts)-1].name && s.world.names {
		_, port, _ := strings.Cut(h.proxy.addr(), ":")
		return "dns+http://" + dnsName + ":" + port
	}
	return "http://" + h.proxy.addr()
}
