// Package internal_test holds the tree to the directions in which packages may import each other.
package internal_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/goldsmith-ami/packer-plugin-goldsmith"

// layer says what some packages may import of this module. A package belongs to the first layer that names it; a name
// that ends in /... stands for a directory and all below it.
type layer struct {
	packages []string
	// may are the layers' packages, or single ones, that they may import beside each other.
	may []string
}

// layers are ordered from the programs down to what imports nothing of ours. ARCHITECTURE.md says what each is for.
var layers = map[string]layer{
	"example": {packages: []string{"webapp"}},
	"judges":  {packages: []string{"scan/...", "test/...", "tools/..."}},
	"acceptance": {
		packages: []string{"acceptance/..."},
		may:      []string{"stack", "ec2", "access", "machine", "judges", "basics"},
	},
	"plugin": {
		packages: []string{"."},
		may:      []string{"deployer", "components", "internal/hangup", "internal/version"},
	},
	"deployer": {
		packages: []string{"postprocessor/..."},
		may:      []string{"stack", "ec2", "plays", "machine", "basics"},
	},
	// What bakes knows a stack's releases and network, and nothing of how it is deployed.
	"components": {
		packages: []string{"builder", "provisioners/...", "datasource/..."},
		may: []string{
			"files",
			"internal/stack",
			"internal/stack/defaultstack",
			"internal/stack/network",
			"internal/stack/release",
			"internal/stackfile",
			"ec2",
			"plays",
			"machine",
			"basics",
		},
	},
	"command": {
		packages: []string{"cmd/goldsmith"},
		may:      []string{"localcloud/cli", "stack", "ec2", "access", "machine", "basics"},
	},
	"agent": {
		packages: []string{"cmd/goldsmith-agent"},
		may:      []string{"machine", "basics"},
	},
	"cloud command": {
		packages: []string{"localcloud/cli/..."},
		may:      []string{"local cloud", "host", "access", "internal/awsconfig", "internal/await", "basics"},
	},
	"local cloud": {
		packages: []string{"localcloud/..."},
		may:      []string{"host", "basics"},
	},
	// It makes machines, disks and networks, and knows nothing of EC2's API.
	"host": {
		packages: []string{"localcloud/host/...", "localcloud/durable"},
		may:      []string{"basics"},
	},
	"stack": {
		packages: []string{"internal/stack/...", "internal/stackfile/...", "internal/report/..."},
		may:      []string{"ec2", "access", "machine", "basics"},
	},
	"ec2": {
		packages: []string{
			"internal/awsaccess", "internal/awsconfig", "internal/awserr", "internal/await", "internal/console",
			"internal/ec2ops/...", "internal/ec2fake/...", "internal/images", "internal/quotas",
		},
		may: []string{"machine", "basics"},
	},
	"access": {
		packages: []string{"internal/access/..."},
		may:      []string{"machine", "basics"},
	},
	"plays": {
		packages: []string{
			"internal/remote", "internal/render", "internal/inputs", "internal/leaks", "internal/agentbin",
			"internal/packerstep",
		},
		may: []string{"machine", "basics"},
	},
	"machine": {
		packages: []string{
			"internal/engine/...", "internal/task/...", "internal/firstboot/...", "internal/imagespec/...",
			"internal/instance/...", "internal/manifest/...", "internal/mysqlsetup/...", "internal/seal/...",
			"internal/settle/...",
		},
		may: []string{"basics"},
	},
	"files":  {packages: []string{"files/..."}},
	"basics": {packages: []string{"internal/..."}},
}

// order is that in which a package is looked for in the layers.
var order = []string{
	"example",
	"judges",
	"acceptance",
	"plugin",
	"deployer",
	"components",
	"command",
	"agent",
	"cloud command",
	"host",
	"local cloud",
	"stack",
	"ec2",
	"access",
	"plays",
	"machine",
	"files",
	"basics",
}

// weights are prefixes of import paths that a program must not depend on, directly or not, as they make it large or do
// not belong there.
var weights = map[string][]string{
	"webapp": {module + "/", "github.com/aws/", "github.com/hashicorp/"},
	"cmd/goldsmith-agent": {
		module + "/localcloud",
		module + "/builder",
		"github.com/hashicorp/",
		"github.com/aws/aws-sdk-go-v2/service/ec2",
	},
	// A template engine looks methods up by reflection: the linker keeps all of EC2's client then, which is 40 MB.
	"cmd/goldsmith": {
		module + "/builder",
		module + "/provisioners",
		"github.com/hashicorp/packer-plugin-sdk",
		"html/template",
		"text/template",
	},
	// commonsteps brings the clients of several clouds; packerstep has what we need of it.
	".": {module + "/localcloud", module + "/cmd", "github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"},
}

// imports are the import paths of each package, by its directory, without those of tests. It reads the files: go test
// would not see that its cached result is old.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		imported, err := importsOf(file)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(inside)
		all[dir] = append(all[dir], imported...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, imported := range all {
		slices.Sort(imported)
		all[dir] = slices.Compact(imported)
	}
	return all
}

// importsOf are the import paths of one file.
func importsOf(file string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), file, content, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		found = append(found, imported)
	}
	return found, nil
}

// ours is the directory of an import path of this module.
func ours(imported string) (dir string, ok bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

// names says whether a name of the tables stands for a directory.
func names(name, dir string) bool {
	if above, ok := strings.CutSuffix(name, "/..."); ok {
		return dir == above || strings.HasPrefix(dir, above+"/")
	}
	return dir == name
}

// layerOf is the layer to which a directory belongs.
func layerOf(dir string) string {
	at := slices.IndexFunc(order, func(name string) bool {
		return slices.ContainsFunc(layers[name].packages, func(p string) bool { return names(p, dir) })
	})
	if at < 0 {
		return ""
	}
	return order[at]
}

// direction says what is wrong with an import, or nothing.
func direction(from, to string) string {
	mine, theirs := layerOf(from), layerOf(to)
	switch {
	case mine == "":
		return fmt.Sprintf("%s is in no layer", from)
	case mine == theirs:
		return ""
	case slices.ContainsFunc(layers[mine].may, func(name string) bool { return name == theirs || names(name, to) }):
		return ""
	}
	return fmt.Sprintf("%s (%s) imports %s (%s)", from, mine, to, theirs)
}

func TestLayers(t *testing.T) {
	if got, want := slices.Sorted(slices.Values(order)), slices.Sorted(maps.Keys(layers)); !slices.Equal(got, want) {
		t.Fatalf("the order has %q, the table %q", got, want)
	}
	all := imports(t, "..")
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		for _, imported := range all[dir] {
			if to, ok := ours(imported); ok {
				if fault := direction(dir, to); fault != "" {
					t.Error(fault)
				}
			}
		}
	}
}

// TestLayersTell has an import against each direction that matters most.
func TestLayersTell(t *testing.T) {
	for _, edge := range [][2]string{
		{"webapp", "internal/plaintext"},
		{"internal/stack/deploy", "localcloud/endpoint"},
		{"builder", "localcloud/cli"},
		{"builder", "cmd/goldsmith"},
		{"localcloud/endpoint", "internal/stack"},
		{"localcloud/host", "localcloud/endpoint"},
		{"builder", "internal/stack/deploy"},
		{"internal/seal", "internal/awsconfig"},
		{"internal/plaintext", "internal/stack"},
		{"internal/images", "internal/stack/release"},
		{"nowhere", "internal/plaintext"},
	} {
		if direction(edge[0], edge[1]) == "" {
			t.Errorf("%s may import %s", edge[0], edge[1])
		}
	}
	if fault := direction("builder", "internal/stack/release"); fault != "" {
		t.Error(fault)
	}
}

func TestWeights(t *testing.T) {
	all := imports(t, "..")
	for _, program := range slices.Sorted(maps.Keys(weights)) {
		if all[program] == nil {
			t.Errorf("there is no program %s", program)
		}
		for _, fault := range linked(all, program, weights[program]) {
			t.Error(fault)
		}
	}
}

// TestWeightsTell has a program that is linked with what it must not be by way of another package.
func TestWeightsTell(t *testing.T) {
	all := map[string][]string{
		"cmd/a":      {module + "/internal/b"},
		"internal/b": {"example.com/heavy/part", "fmt"},
	}
	faults := linked(all, "cmd/a", []string{"example.com/heavy"})
	if want := "cmd/a is linked with example.com/heavy/part: cmd/a, internal/b"; !slices.Equal(faults, []string{want}) {
		t.Errorf("got %q, want %q", faults, want)
	}
}

// linked are the imports of a program, and of what it imports of ours, that begin with one of the prefixes.
func linked(all map[string][]string, program string, prefixes []string) []string {
	var faults []string
	way := map[string]string{program: program}
	for queue := []string{program}; len(queue) > 0; queue = queue[1:] {
		dir := queue[0]
		for _, imported := range all[dir] {
			if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(imported, prefix) }) {
				faults = append(faults, fmt.Sprintf("%s is linked with %s: %s", program, imported, way[dir]))
			}
			if to, ok := ours(imported); ok && way[to] == "" {
				way[to] = way[dir] + ", " + path.Clean(to)
				queue = append(queue, to)
			}
		}
	}
	return faults
}
