package main

type phoneCommand struct{}

func (phoneCommand) Help() string { return "    offhook phone" }
func (phoneCommand) Run() error   { return nil }
