if __name__ == "__main__":
    from ingest.cli import main  # not in the processes that read files, which look at this module too

    main()
