// Loads a compose file with Compose's own loader, as `docker compose config` does, and prints the
// project as JSON. Variables come from the environment; a required one that is missing is an error.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compose:", err)
		os.Exit(1)
	}
}

func check(files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithOsEnv, cli.WithInterpolation(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	found, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(found)
	return err
}
