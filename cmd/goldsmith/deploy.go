package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// deployFlags are the flags that deploy, rollback and plan share.
type deployFlags struct {
	account
	d             deploy.Deployment
	databaseImage string
	webImage      string
	instanceType  string
	timeout       time.Duration
	bakeTime      time.Duration
	drainTime     time.Duration
	keepSnapshots int32
	volumeSize    int32
	timings       string
	asJSON        bool
}

// flags adds the flags that override the stack file.
func (r *deployFlags) flags(cmd *cobra.Command) {
	r.account.flags(cmd)
	f, d := cmd.Flags(), stackfile.Default()
	f.StringVar(
		&r.instanceType,
		"instance-type",
		d.Web.InstanceType,
		"what the instances run on (stack file: instance_type)",
	)
	f.Int32Var(
		&r.volumeSize,
		"volume-size",
		d.Database.DataVolume.Size,
		"the size in GiB of the data volume (stack file: size of data_volume)",
	)
	f.BoolVar(&r.asJSON, "json", false, "print the result as JSON")
}

// howFlags are those that say how it comes to that.
func (r *deployFlags) howFlags(cmd *cobra.Command) {
	f, d := cmd.Flags(), stackfile.Default().Deploy
	f.DurationVar(&r.timeout, "timeout", d.Timeout, "how long it may take until all is ready (stack file: timeout)")
	f.DurationVar(
		&r.bakeTime,
		"bake-time",
		d.BakeTime,
		"how long the page is watched after the traffic moved, before the old instances end (stack file: bake_time)",
	)
	f.DurationVar(
		&r.drainTime,
		"drain-time",
		d.DrainTime,
		"how long the old web instance may finish what it is at (stack file: drain_time)",
	)
	f.Int32Var(
		&r.keepSnapshots,
		"keep-snapshots",
		d.KeepSnapshots,
		"how many snapshots of the data volume are kept (stack file: keep_snapshots)",
	)
	f.StringVar(
		&r.timings,
		"timings",
		"",
		"a file to which a line is added for each step: its name, a tab, its seconds",
	)
	f.StringVar(
		&r.d.Report,
		"report",
		"",
		"the file that the report is written to; none for no report (default: ~/.goldsmith/reports/STACK-ID.html)",
	)
}

// The ids of EC2's resources are 8 or 17 hexadecimal digits (EC2 User Guide, "Resource IDs").
var (
	imageID    = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)
	snapshotID = regexp.MustCompile(`^snap-([0-9a-f]{8}|[0-9a-f]{17})$`)
)

// checkIDs refuses what EC2 would call malformed, before anything is asked or changed.
func (r *deployFlags) checkIDs() error {
	for _, given := range []struct {
		flag, id, like string
		form           *regexp.Regexp
	}{
		{"db-ami", r.databaseImage, "ami-0123456789abcdef0", imageID},
		{"web-ami", r.webImage, "ami-0123456789abcdef0", imageID},
		{"snapshot", r.d.Snapshot, "snap-0123456789abcdef0", snapshotID},
	} {
		if given.id != "" && !given.form.MatchString(given.id) {
			return &usageError{fmt.Errorf("--%s %q: an id is needed, as %s", given.flag, given.id, given.like)}
		}
	}
	return nil
}

// open is the stack of the stack file, where the flags say nothing else.
func (r *deployFlags) open(cmd *cobra.Command) (*stack.Stack, error) {
	given := cmd.Flags().Changed
	if given("keep-snapshots") && r.keepSnapshots < 1 || given("volume-size") && r.volumeSize < 1 ||
		given("timeout") && r.timeout <= 0 {
		return nil, &usageError{
			errors.New("--keep-snapshots and --volume-size: at least 1 is needed; --timeout: more than 0"),
		}
	}
	for _, tier := range r.d.Replace {
		if !slices.Contains([]string{defaultstack.Database, defaultstack.Web, "all"}, tier) {
			return nil, &usageError{
				fmt.Errorf("--replace %s: %s, %s or all is needed", tier, defaultstack.Database, defaultstack.Web),
			}
		}
	}
	if err := r.checkIDs(); err != nil {
		return nil, err
	}
	file, err := r.read(cmd)
	if err != nil {
		return nil, err
	}
	r.d.Images = map[string]string{defaultstack.Database: r.databaseImage, defaultstack.Web: r.webImage}
	r.override(file, given)
	return r.openFile(cmd, file)
}

// override has the flags that are given say what the stack file does otherwise.
func (r *deployFlags) override(file *stackfile.File, given func(flag string) bool) {
	if given("instance-type") {
		file.Database.InstanceType, file.Web.InstanceType = r.instanceType, r.instanceType
	}
	if given("timeout") {
		file.Deploy.Timeout = r.timeout
	}
	if given("bake-time") {
		file.Deploy.BakeTime = r.bakeTime
	}
	if given("drain-time") {
		file.Deploy.DrainTime = r.drainTime
	}
	if given("keep-snapshots") {
		file.Deploy.KeepSnapshots = r.keepSnapshots
	}
	if given("volume-size") {
		file.Database.DataVolume.Size = r.volumeSize
	}
}

func (r *deployFlags) run(cmd *cobra.Command, s *stack.Stack) error {
	r.progress.timings = r.timings
	r.d.Step = r.progress.step
	deployed, err := deploy.Run(cmd.Context(), s, r.d)
	if err = errors.Join(err, r.progress.end()); err != nil {
		if deployed.Report != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "report:", deployed.Report)
		}
		return err
	}
	if r.asJSON {
		return printJSON(cmd, deployed)
	}
	if r.timings == "" {
		r.progress.print(cmd.OutOrStdout())
	}
	fmt.Fprintf(
		cmd.OutOrStdout(),
		"\n%s\n\ncertificate (made by the instance): sha256 %s\n",
		deployed.URL,
		deployed.Fingerprint,
	)
	if deployed.Report != "" {
		fmt.Fprintln(cmd.OutOrStdout(), "report:", deployed.Report)
	}
	return nil
}

const exitCodes = "Exit codes: 0 done; 1 failed, and all is as it was; 2 bad input; 3 failed, and a person is needed."

func deployCommand() *cobra.Command {
	var r deployFlags
	command := &cobra.Command{
		Use:   "deploy",
		Short: "Run the current release: one instance of each image",
		Args:  cobra.NoArgs,
		Long: `Makes the stack run a db and a web image: those of the current release, or others. No running instance is
changed. New ones are launched and verify themselves; then the database's volume moves to the new database,
which verifies the data, and the elastic IP to the new web instance; then the page is watched; then the old
instances end. Whatever fails, an interrupt or a closed terminal too, goes back to the old instances, with all
data that was written in between. A tier that runs its image already is left alone.

What a deployment left that was killed is put right first. Of two at once the second is refused.

` + exitCodes,
		Example: `  goldsmith deploy
  goldsmith deploy --web-ami ami-0123456789abcdef0
  goldsmith deploy --replace web`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.open(cmd)
			if err != nil {
				return err
			}
			r.announce(cmd)
			return r.run(cmd, s)
		},
	}
	r.flags(command)
	r.howFlags(command)
	r.imageFlags(command)
	return command
}

// imageFlags say what is to run, for those who choose it.
func (r *deployFlags) imageFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(
		&r.databaseImage,
		"db-ami",
		"",
		"the database's image (default: the stack file's, else the current release's)",
	)
	f.StringVar(
		&r.webImage,
		"web-ami",
		"",
		"the web tier's image (default: the stack file's, else the current release's)",
	)
	f.StringSliceVar(
		&r.d.Replace,
		"replace",
		nil,
		"replace this tier's instance also if its image is the wanted one: db, web, all",
	)
}

func rollbackCommand() *cobra.Command {
	var r deployFlags
	var to string
	rollback := &cobra.Command{
		Use:   "rollback",
		Short: "Run again what ran before the last deployment",
		Args:  cobra.NoArgs,
		Long: `Deploys the images that ran before the last deployment that was good, or those that another one of the
history led to. The data stays as it is now: what was written since then survives. Where the old database server
could not open it any more, as it is older than the data, nothing is changed, and the error names the snapshot
that was made before the data was upgraded. With --snapshot the data goes back to such a one, and what was
written since then is in another snapshot only.

After a deployment that was killed it puts the stack right first.

` + exitCodes,
		Example: `  goldsmith rollback
  goldsmith rollback --to 20261123-101112
  goldsmith rollback --snapshot snap-0123456789abcdef0`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.open(cmd)
			if err != nil {
				return err
			}
			r.announce(cmd)
			images, err := record.Before(cmd.Context(), s, to)
			if err != nil {
				return err
			}
			r.d.Kind, r.d.Images = "rollback", images.Tiers
			data := "what was written since then stays"
			if r.d.Snapshot != "" {
				data = "the data goes back to " + r.d.Snapshot +
					", and what was written since then is kept in a snapshot only"
			}
			fmt.Fprintf(
				cmd.ErrOrStderr(),
				"back to db %s, web %s; %s\n",
				images.Tiers[defaultstack.Database],
				images.Tiers[defaultstack.Web],
				data,
			)
			return r.run(cmd, s)
		},
	}
	r.flags(rollback)
	r.howFlags(rollback)
	rollback.Flags().StringVar(&r.d.Snapshot, "snapshot", "",
		"a snapshot of the data volume that the data goes back to, too: "+
			"what was written since then is lost to the stack")
	rollback.Flags().
		StringVar(&to, "to", "", "a release, or the id of a deployment in the history whose images are wanted")
	return rollback
}

func historyCommand() *cobra.Command {
	var a account
	var asJSON bool
	history := &cobra.Command{
		Use:   "history",
		Short: "Show the stack's deployments",
		Args:  cobra.NoArgs,
		Long: `Lists the deployments that the stack remembers, the youngest first: who, when, from what to what, and
how it ended.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith history\n  goldsmith history --json | jq '.[0].steps'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			records, err := record.Told(cmd.Context(), s)
			if err != nil {
				return err
			}
			if asJSON {
				for n := range records {
					records[n].Steps = list(records[n].Steps)
				}
				return printJSON(cmd, list(records))
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tKIND\tWHO\tTOOK\tDB\tWEB\tRESULT")
			for _, r := range records {
				took := "-"
				if !r.Ended.IsZero() {
					took = r.Ended.Sub(r.Started).Round(time.Second).String()
				}
				result := r.Result
				if reason, _, _ := strings.Cut(r.Reason, "\n"); reason != "" {
					result += ": " + reason
				}
				fmt.Fprintln(
					table,
					strings.Join(
						[]string{
							r.ID,
							r.Kind,
							r.Who,
							took,
							step(r, defaultstack.Database),
							step(r, defaultstack.Web),
							result,
						},
						"\t",
					),
				)
			}
			return table.Flush()
		},
	}
	a.flags(history)
	history.Flags().BoolVar(&asJSON, "json", false, "as JSON, with each step")
	return history
}

// step is a tier's change for people.
func step(r record.Record, tier string) string {
	from, to := r.From.Tiers[tier], r.To.Tiers[tier]
	switch from {
	case to:
		return to
	case "":
		return "-> " + to
	}
	return from + " -> " + to
}
