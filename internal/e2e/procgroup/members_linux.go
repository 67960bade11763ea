package procgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Members returns the process IDs of a group, the leader's first if it still runs.
// Processes that have ended and that nobody has waited for yet do not count.
func Members(group int) (pids []int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since the listing
		}
		// After the name, which is in parentheses and may hold any character, come
		// the state, the parent and the group.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 3 || fields[0] == "Z" || fields[2] != strconv.Itoa(group) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		if pid == group {
			pids = append([]int{pid}, pids...)
		} else {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
