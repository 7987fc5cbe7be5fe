// Command scan judges the running instances of a stack with scanners that are not this project's, and prints one table.
// A finding that exceptions.hcl does not list fails, and so does an exception that nothing needs any more.
//
// Exit codes: 0 no unlisted finding; 1 findings, or a scanner that could not run; 2 bad input.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
)

// A scanner looks at one tier.
type scanner struct {
	// name is its name in the table and in the exceptions.
	name string
	// tier is "db" or "web".
	tier string
	// run returns what the scanner says of the whole (a grade, an index) and what it found fault with. An error means
	// that it could not judge.
	run func(ctx context.Context, m *machine) (verdict string, found []finding, err error)
}

// A finding is one fault.
type finding struct {
	id   string // the scanner's own name of it; exceptions go by this
	text string
}

// scanners are all, in the order of the table. Each is in a file of its own.
var scanners = []scanner{
	{"linux-baseline", "db", baseline(linuxCommon, linuxControls())},
	{"linux-baseline", "web", baseline(linuxCommon, linuxControls())},
	{"ssh-baseline", "db", baseline(sshCommon, sshControls)},
	{"ssh-baseline", "web", baseline(sshCommon, sshControls)},
	{"debsums", "db", debsums},
	{"debsums", "web", debsums},
	{"lynis", "db", lynis},
	{"lynis", "web", lynis},
	{"ssh-audit", "web", sshAudit},
	{"mysql-controls", "db", mysqlControls},
	{"mysqltuner", "db", mysqltuner},
	{"sslscan", "db", sslscanDatabase},
	{"testssl", "web", testssl},
	{"http-observatory", "web", observatory},
	{"systemd", "db", exposure("mysql.service", 1.0)},
	{"systemd", "web", exposure("goldsmith-webapp.service", 1.0)},
	{"systemd", "web", exposure("nginx.service", 1.5)},
}

// perScanner is more than the slowest of them needs.
const perScanner = 10 * time.Minute

func main() {
	stack := flag.String("stack", "golden", "the stack whose instances are judged")
	only := flag.String("only", "", "run the scanners whose name has this in it")
	db := flag.String("db", "", "judge the instance of this name as the db tier, in place of the stack's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, *stack, *only, *db))
}

func run(ctx context.Context, stack, only, db string) int {
	excused, err := readExceptions("scan/exceptions.hcl")
	if err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		return 2
	}
	machines := map[string]*machine{}
	for _, tier := range []string{"db", "web"} {
		if tier == "db" && db != "" {
			machines[tier], err = oneMachine(ctx, tier, "Name=tag:Name,Values="+db)
		} else {
			machines[tier], err = findMachine(ctx, stack, tier)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "scan:", err)
			return 2
		}
	}
	machines["db"].web = machines["web"]
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCANNER\tTIER\tRESULT\tEXCEPTIONS\tVERDICT")
	var details []string
	for _, s := range scanners {
		if !strings.Contains(s.name, only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %s...\n", s.tier, s.name)
		within, cancel := context.WithTimeout(ctx, perScanner)
		verdict, found, err := s.run(within, machines[s.tier])
		cancel()
		unlisted, excused, stale := excused.settle(s, found)
		result := "pass"
		if err != nil {
			result = "ERROR"
			stale = nil // nothing was judged
			details = append(details, fmt.Sprintf("%s %s: could not judge: %v", s.tier, s.name, err))
		}
		for _, f := range unlisted {
			result = "FAIL"
			details = append(details, fmt.Sprintf("%s %s: %s: %s", s.tier, s.name, f.id, f.text))
		}
		for _, id := range stale {
			result = "FAIL"
			details = append(
				details,
				fmt.Sprintf("%s %s: the exception %q is not needed: remove it", s.tier, s.name, id),
			)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", s.name, s.tier, result, excused, verdict)
	}
	table.Flush()
	if len(details) > 0 {
		fmt.Printf("\n%s\n", strings.Join(details, "\n"))
		return 1
	}
	return 0
}
