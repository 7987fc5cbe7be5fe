package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/cli"
)

// load is the AWS configuration that the flags and the stack file name.
func (a *account) load(cmd *cobra.Command) (aws.Config, error) {
	if _, err := a.read(cmd); err != nil {
		return aws.Config{}, err
	}
	return a.configuration(cmd)
}

func (a *account) configuration(cmd *cobra.Command) (aws.Config, error) {
	for _, err := range a.options.Validate() {
		return aws.Config{}, &usageError{err}
	}
	_, a.options.Command, _ = strings.Cut(cmd.CommandPath(), " ")
	conf, err := awsconfig.Load(cmd.Context(), a.options)
	if errors.Is(err, awsconfig.ErrNoRegion) {
		err = noRegion(cmd.Context(), a.options.Endpoint, err)
	}
	if err != nil {
		return aws.Config{}, &usageError{err}
	}
	a.conf = conf
	return conf, nil
}

// noRegion adds to a missing region the local clouds that are up, to whom they may have been meant to go.
func noRegion(ctx context.Context, endpoint string, err error) error {
	if endpoint != "" || os.Getenv("AWS_ENDPOINT_URL") != "" {
		return err // the shell uses one, or another's service
	}
	names, env := cli.Running(ctx)
	switch len(names) {
	case 0:
		return err
	case 1:
		return fmt.Errorf("%w; the local cloud %s is up, but this shell does not use it\nhint: %s",
			awsconfig.ErrNoRegion, names[0], env)
	}
	return fmt.Errorf("%w; local clouds are up (%s), but this shell uses none\nhint: %s",
		awsconfig.ErrNoRegion, strings.Join(names, ", "), env)
}

// announce tells where something is about to be changed: a profile of the shell's decides that, and may be another
// than one has in mind.
func (a *account) announce(cmd *cobra.Command) {
	fmt.Fprintln(cmd.ErrOrStderr(), awsconfig.Account(cmd.Context(), a.conf))
}

func imagesCommand() *cobra.Command {
	var a account
	var asJSON bool
	listing := &cobra.Command{
		Use:   "images",
		Short: "List the images: age, proof, release, and where they run",
		Args:  cobra.NoArgs,
		Long: `Lists the images that builds made in this account and region, of all stacks.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: `  goldsmith images
  goldsmith images --json | jq -r '.[] | select(.current) | .id'
  goldsmith images prune --keep 5`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, _, err := a.images(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(list(all))
			}
			return printImages(cmd.OutOrStdout(), all)
		},
	}
	a.flags(listing)
	listing.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	listing.AddCommand(pruneCommand())
	return listing
}

// images lists them, with the images of all stacks' current releases marked.
func (a *account) images(cmd *cobra.Command) ([]images.Image, *images.Account, error) {
	conf, err := a.load(cmd)
	if err != nil {
		return nil, nil, err
	}
	opened := images.Open(conf)
	current, err := release.ImagesInUse(cmd.Context(), conf)
	if err != nil {
		return nil, nil, err
	}
	all, err := opened.List(cmd.Context(), current)
	return all, opened, err
}

func printImages(w io.Writer, all []images.Image) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERIES\tIMAGE\tAGE\tPROOF\tRELEASE\tDIGEST\tRUNS ON")
	for _, i := range all {
		proof, release := "none", i.Release
		switch {
		case i.Proved != "":
			proof = "proved"
		case i.Unproved != "":
			proof = "failed"
		}
		if i.Current {
			release += " (current)"
		}
		fmt.Fprintln(table, strings.Join([]string{
			i.Series,
			i.ID,
			ageText(time.Since(i.Created)),
			proof,
			release,
			fmt.Sprintf("%.12s", strings.TrimPrefix(i.Digest, "sha256:")),
			strings.Join(i.Instances, " "),
		}, "\t"))
	}
	return table.Flush()
}

// ageText is a duration in its largest whole unit.
func ageText(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

func pruneCommand() *cobra.Command {
	var a account
	var keep int
	var yes bool
	prune := &cobra.Command{
		Use:   "prune",
		Short: "Remove old images that nothing uses",
		Args:  cobra.NoArgs,
		Long: `Removes all images of each series but the youngest ones. An image that an instance runs, also a
stopped one, or that is part of a stack's current release, is never removed. Without --yes it only
shows what would go.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith images prune --keep 5\n  goldsmith images prune --keep 5 --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep < 1 {
				return &usageError{fmt.Errorf("prune: --keep %d should be 1 or more", keep)}
			}
			all, opened, err := a.images(cmd)
			if err != nil {
				return err
			}
			if yes {
				a.announce(cmd)
			}
			old := images.Superseded(all, keep)
			if err := printImages(cmd.OutOrStdout(), old); err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d images would be removed; say --yes to do it\n", len(old))
				return nil
			}
			var errs []error
			for _, image := range old {
				errs = append(errs, opened.Remove(cmd.Context(), image))
			}
			return errors.Join(errs...)
		},
	}
	a.flags(prune)
	prune.Flags().IntVar(&keep, "keep", 5, "how many images of each series stay")
	prune.Flags().BoolVar(&yes, "yes", false, "yes, remove them")
	return prune
}

func gcCommand() *cobra.Command {
	var a account
	var olderThan time.Duration
	var yes, asJSON bool
	gc := &cobra.Command{
		Use:   "gc",
		Short: "Remove what builds that were killed left behind",
		Args:  cobra.NoArgs,
		Long: `Finds what builds made and did not live to remove: instances, key pairs, security groups, unfinished
images, snapshots and volumes, temporary roles. All of it has the tag goldsmith:build; what has not is
never touched. Finished images are no leftovers: see goldsmith images prune. Without --yes it only
shows what would go.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith gc\n  goldsmith gc --older-than 2h --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := a.load(cmd)
			if err != nil {
				return err
			}
			if yes {
				a.announce(cmd)
			}
			found, err := images.Open(conf).Leftovers(cmd.Context(), olderThan)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(list(found))
			} else {
				err = printLeftovers(cmd.OutOrStdout(), found)
			}
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d things would be removed; say --yes to do it\n", len(found))
				return nil
			}
			return images.RemoveLeftovers(cmd.Context(), found, func(l images.Leftover) {
				fmt.Fprintf(cmd.ErrOrStderr(), "removed %s %s\n", l.Kind, l.ID)
			})
		},
	}
	a.flags(gc)
	gc.Flags().
		DurationVar(&olderThan, "older-than", 6*time.Hour, "leave alone what is younger: its build may be at work")
	gc.Flags().BoolVar(&yes, "yes", false, "yes, remove it")
	gc.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return gc
}

func printLeftovers(w io.Writer, found []images.Leftover) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range found {
		fmt.Fprintf(table, "%s\t%s\tbuild %s\t%s old\n", l.Kind, l.ID, l.Build, ageText(time.Since(l.Since)))
	}
	return table.Flush()
}

func diffCommand() *cobra.Command {
	var a account
	var asJSON bool
	diff := &cobra.Command{
		Use:   "diff IMAGE IMAGE",
		Short: "Show what differs between two images",
		Args:  cobra.ExactArgs(2),
		Long: `Compares the manifests of two images: packages, units, listening sockets, configuration below /etc,
and other files that no package brought or that are not as their package brought them. An image is
named by its AMI's id, if it was built on this machine, or by its manifest's file: in an image that
is /usr/share/goldsmith/manifest.json, and goldsmith-seal saves it with manifest_dir.

Exit codes: 0 done, whether or not they differ; 1 failed; 2 bad input.`,
		Example: `  goldsmith diff ami-0123456789abcdef0 ami-0fedcba9876543210
  goldsmith diff old.manifest.json new.manifest.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var both [2]*manifest.Manifest
			for i, name := range args {
				var err error
				if both[i], err = a.manifestOf(cmd, name); err != nil {
					return fmt.Errorf("compare %s: %w", name, err)
				}
			}
			d := manifest.Diff(both[0], both[1])
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(d)
			}
			printDifference(cmd.OutOrStdout(), d)
			return nil
		},
	}
	a.flags(diff)
	diff.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return diff
}

func (a *account) manifestOf(cmd *cobra.Command, name string) (*manifest.Manifest, error) {
	if !strings.HasPrefix(name, "ami-") {
		m, err := manifest.Read(name)
		if err != nil {
			return nil, &usageError{err}
		}
		return m, nil
	}
	if _, err := os.Stat(name); err == nil {
		return manifest.Read(name)
	}
	conf, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	digest, err := images.Open(conf).ManifestDigest(cmd.Context(), name)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Kept(digest)
	if errors.Is(err, manifest.ErrNotKept) {
		return nil, fmt.Errorf("%w\nhint: it lies in the image as %s/manifest.json; name a copy of it instead",
			err, manifest.Directory)
	}
	return m, err
}

func printDifference(w io.Writer, d manifest.Difference) {
	if d.Empty() {
		fmt.Fprintln(w, "no difference")
	}
	for _, part := range []struct {
		name  string
		lines []string
	}{
		{"packages", d.Packages},
		{"units", d.Units},
		{"sockets", d.Sockets},
		{"configuration", d.Configuration},
		{"files", d.Files},
	} {
		if len(part.lines) > 0 {
			fmt.Fprintf(w, "%s\n  %s\n", part.name, strings.Join(part.lines, "\n  "))
		}
	}
}
