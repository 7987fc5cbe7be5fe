// Package instancetype tells properties of EC2's instance types by their names.
package instancetype

import (
	"fmt"
	"slices"
	"strings"
)

// xen are the families whose virtual machines run on Xen ("Amazon EC2 instance types", Instances built on the AWS Nitro
// System). All later ones are of the Nitro system.
var xen = []string{
	"t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "r3", "r4", "x1", "x1e", "d2", "h1", "i2", "i3", "f1", "g2",
	"g3", "g3s", "p2", "p3",
}

// NotNitro is the error of a type that is known not to be of the Nitro system, whose console can be read only some time
// after something was written to it (GetConsoleOutput in the EC2 API Reference, Latest). No instance of such a type
// could say that it is ready in time.
func NotNitro(kind string) error {
	family, size, _ := strings.Cut(kind, ".")
	if !slices.Contains(xen, family) || strings.HasPrefix(size, "metal") {
		return nil
	}
	return fmt.Errorf("%s runs on Xen, where an instance's console, by which it says that it is ready, is minutes "+
		"late; a type of the Nitro system should be taken, such as t3.small", kind)
}
