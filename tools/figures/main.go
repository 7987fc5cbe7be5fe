// Command figures prints the sizes, names and shapes of this tree's Go code, and with -check fails where it exceeds the
// limits that CONTRIBUTING.md names and no linter holds. Generated files count nowhere; tests only where it says so.
// It reads syntax and no types: what a name means it tells by where the name stands.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	check := flag.Bool("check", false, "print only what exceeds a limit, and fail if anything does")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	t, err := read(root)
	if err != nil {
		return err
	}
	faults := t.faults()
	if !check {
		t.print(os.Stdout)
	}
	for _, fault := range faults {
		fmt.Println(fault)
	}
	if check && len(faults) > 0 {
		return fmt.Errorf(
			"check the limits: %d are exceeded\nhint: CONTRIBUTING.md says why they are there",
			len(faults),
		)
	}
	return nil
}
