"""What all commands share: launching, help, spelling, what there is, tables on the console."""
