"""What each verb of the command line does, as typed functions: where systems meet."""
